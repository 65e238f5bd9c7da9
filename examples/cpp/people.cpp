// The people of an image, without Python: the network in OpenVINO, then the parser of the 2017 paper.
//
//   people MODEL SKELETON.txt IMAGE.ppm
//
// MODEL is an .xml or .onnx file of `openpaf export`. docs/other_languages.md says how to build it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/core/preprocess/pre_post_process.hpp>
#include <openvino/openvino.hpp>

constexpr int kShortSide = 368, kStride = 8, kSamples = 10;
constexpr float kHeatmapOffset = 3.5f, kPafOffset = 0.0f;  // px of cell 0, `heatmap_grid` of the spec
constexpr float kPeak = 0.2f, kAlong = 0.05f;

struct Skeleton {
    std::vector<std::string> joints;
    std::vector<std::array<int, 2>> limbs;
};
struct Peak {
    int joint;
    float x, y, score;
};
struct Limb {
    int from, to;  // peaks
    float score;
};
struct Array {  // (channels, h, w)
    const float* data;
    int h, w;
    float at(int channel, int y, int x) const {
        y = std::clamp(y, 0, h - 1), x = std::clamp(x, 0, w - 1);
        return data[(channel * h + y) * w + x];
    }
};

Skeleton read_skeleton(const char* path) {
    std::ifstream file(path);
    Skeleton skeleton;
    std::string line, joint;
    std::getline(file, line);
    for (std::istringstream names(line); names >> joint;) skeleton.joints.push_back(joint);
    for (std::array<int, 2> limb; file >> limb[0] >> limb[1];) skeleton.limbs.push_back(limb);
    if (skeleton.limbs.empty()) throw std::runtime_error("no limbs in the skeleton's file");
    return skeleton;
}

// RGB values of a binary PPM (P6), and its size.
std::vector<uint8_t> read_ppm(const char* path, int& w, int& h) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    int largest = 0;
    if (!(file >> magic >> w >> h >> largest) || magic != "P6" || largest != 255)
        throw std::runtime_error("expected a binary PPM of 8 bits");
    file.get();
    std::vector<uint8_t> pixels(size_t(w) * h * 3);
    if (!file.read(reinterpret_cast<char*>(pixels.data()), pixels.size()))
        throw std::runtime_error("the image is cut short");
    return pixels;
}

// Maxima of each joint's heatmap, finer than a cell by a parabola.
std::vector<Peak> find_peaks(const Array& maps, int n_joints) {
    std::vector<Peak> peaks;
    auto shift = [](float before, float here, float after) {
        float curve = before - 2 * here + after;
        return curve < 0 && before < here ? std::clamp((before - after) / (2 * curve), -0.5f, 0.5f) : 0.0f;
    };
    for (int k = 0; k < n_joints; ++k)
        for (int y = 0; y < maps.h; ++y)
            for (int x = 0; x < maps.w; ++x) {
                float here = maps.at(k, y, x), left = maps.at(k, y, x - 1), up = maps.at(k, y - 1, x);
                float right = maps.at(k, y, x + 1), down = maps.at(k, y + 1, x);
                if (here < kPeak || here < left || here < up || here <= right || here <= down) continue;
                peaks.push_back({k, kStride * (x + shift(left, here, right)) + kHeatmapOffset,
                                 kStride * (y + shift(up, here, down)) + kHeatmapOffset, here});
            }
    return peaks;
}

// Pairs of peaks whose PAF points from one to the other (equation 10), greedily the best first.
std::vector<Limb> match_limbs(const Array& pafs, const Skeleton& skeleton, const std::vector<Peak>& peaks) {
    std::vector<Limb> matched;
    for (int l = 0; l < int(skeleton.limbs.size()); ++l) {
        std::vector<Limb> candidates;
        for (int a = 0; a < int(peaks.size()); ++a)
            for (int b = 0; b < int(peaks.size()); ++b) {
                if (peaks[a].joint != skeleton.limbs[l][0] || peaks[b].joint != skeleton.limbs[l][1]) continue;
                float dx = peaks[b].x - peaks[a].x, dy = peaks[b].y - peaks[a].y;
                float length = std::max(std::hypot(dx, dy), 1e-3f), sum = 0;
                int n_along = 0;
                for (int i = 0; i < kSamples; ++i) {
                    float t = i / (kSamples - 1.0f);
                    int x = std::lround((peaks[a].x + t * dx - kPafOffset) / kStride);
                    int y = std::lround((peaks[a].y + t * dy - kPafOffset) / kStride);
                    float along = (pafs.at(2 * l, y, x) * dx + pafs.at(2 * l + 1, y, x) * dy) / length;
                    sum += along, n_along += along > kAlong;
                }
                if (n_along >= 0.8 * kSamples) candidates.push_back({a, b, sum / kSamples});
            }
        auto better = [](const Limb& one, const Limb& other) { return one.score > other.score; };
        std::sort(candidates.begin(), candidates.end(), better);
        std::vector<bool> used(peaks.size());
        for (const Limb& limb : candidates)
            if (!used[limb.from] && !used[limb.to])
                used[limb.from] = used[limb.to] = true, matched.push_back(limb);
    }
    return matched;
}

// People: limbs that share a peak, unless that gives a person a joint twice. The best limbs are first.
std::vector<std::vector<int>> assemble(std::vector<Limb> limbs, const std::vector<Peak>& peaks, int n_joints) {
    std::sort(limbs.begin(), limbs.end(), [](auto& one, auto& other) { return one.score > other.score; });
    std::vector<int> owner(peaks.size());
    std::vector<std::vector<int>> people;  // of each joint the peak, or -1
    for (int i = 0; i < int(peaks.size()); ++i) {
        owner[i] = i;
        people.emplace_back(n_joints, -1)[peaks[i].joint] = i;
    }
    for (const Limb& limb : limbs) {
        int into = owner[limb.from], from = owner[limb.to];
        bool twice = into == from;
        for (int k = 0; k < n_joints; ++k) twice |= people[into][k] >= 0 && people[from][k] >= 0;
        if (twice) continue;
        for (int k = 0; k < n_joints; ++k)
            if (people[from][k] >= 0) owner[people[into][k] = people[from][k]] = into;
        people[from].assign(n_joints, -1);
    }
    return people;
}

int main(int argc, char** argv) try {
    if (argc != 4) throw std::runtime_error("usage: people MODEL SKELETON.txt IMAGE.ppm");
    Skeleton skeleton = read_skeleton(argv[2]);
    int n_joints = skeleton.joints.size(), image_w, image_h;
    std::vector<uint8_t> pixels = read_ppm(argv[3], image_w, image_h);
    float scale = float(kShortSide) / std::min(image_w, image_h);
    size_t h = kStride * std::lround(image_h * scale / kStride), w = kStride * std::lround(image_w * scale / kStride);

    // OpenVINO resizes; the normalization is inside of the model.
    ov::Core core;
    auto model = core.read_model(argv[1]);
    model->reshape({{1, 3, int64_t(h), int64_t(w)}});
    ov::preprocess::PrePostProcessor steps(model);
    steps.input().tensor().set_element_type(ov::element::u8).set_layout("NHWC");
    steps.input().tensor().set_spatial_static_shape(image_h, image_w);
    steps.input().preprocess().convert_element_type(ov::element::f32);
    steps.input().preprocess().resize(ov::preprocess::ResizeAlgorithm::RESIZE_LINEAR);
    steps.input().model().set_layout("NCHW");
    ov::InferRequest request = core.compile_model(steps.build(), "CPU").create_infer_request();
    request.set_input_tensor({ov::element::u8, {1, size_t(image_h), size_t(image_w), 3}, pixels.data()});
    request.infer();
    auto array = [&](size_t output) {  // by place, since shipped files have no names of outputs
        ov::Tensor tensor = request.get_output_tensor(output);
        return Array{tensor.data<float>(), int(tensor.get_shape()[2]), int(tensor.get_shape()[3])};
    };

    std::vector<Peak> peaks = find_peaks(array(0), n_joints);
    std::vector<Limb> limbs = match_limbs(array(1), skeleton, peaks);
    int n = 0;
    for (const auto& person : assemble(limbs, peaks, n_joints)) {
        if (std::count_if(person.begin(), person.end(), [](int peak) { return peak >= 0; }) < 3) continue;
        std::printf("person %d\n", n++);
        for (int peak : person)
            if (peak >= 0)  // from px of the network's input to px of the image
                std::printf("  %s %.1f %.1f %.2f\n", skeleton.joints[peaks[peak].joint].c_str(),
                            (peaks[peak].x + 0.5f) * image_w / w - 0.5f,
                            (peaks[peak].y + 0.5f) * image_h / h - 0.5f, peaks[peak].score);
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "people: %s\n", error.what());
    return 2;
}
