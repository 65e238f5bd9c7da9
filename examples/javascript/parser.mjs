// The parser of the 2017 paper, for the browser and for Node: from heatmaps and PAFs to people.
const STRIDE = 8, SAMPLES = 10, PEAK = 0.2, ALONG = 0.05;
const HEATMAP_OFFSET = 3.5, PAF_OFFSET = 0; // px of cell 0, `heatmap_grid` of the model's spec

/** Reads the text of a skeleton: a line of joints, then a line of two numbers for each limb. */
export function readSkeleton(text) {
  const [joints, ...limbs] = text.trim().split("\n").map((line) => line.split(" "));
  return { joints, limbs: limbs.map((limb) => limb.map(Number)) };
}

/** People: for each joint {x, y, score} in px of the network's input, or null. */
export function parse(heatmaps, pafs, skeleton) {
  const peaks = findPeaks(reader(heatmaps), skeleton.joints.length);
  const limbs = matchLimbs(reader(pafs), peaks, skeleton.limbs);
  return assemble(limbs, peaks, skeleton.joints.length).filter(
    (person) => person.filter((joint) => joint !== null).length >= 3,
  );
}

// A tensor (1, channels, h, w); outside of it are the values of its border.
function reader({ data, dims: [, , h, w] }) {
  const inside = (i, n) => Math.min(Math.max(i, 0), n - 1);
  return { h, w, at: (k, y, x) => data[(k * h + inside(y, h)) * w + inside(x, w)] };
}

// Maxima of each joint's heatmap, finer than a cell by a parabola.
function findPeaks({ h, w, at }, nJoints) {
  const shift = (before, here, after) => {
    const curve = before - 2 * here + after;
    if (curve >= 0 || before >= here) return 0;
    return Math.min(Math.max((before - after) / (2 * curve), -0.5), 0.5);
  };
  const peaks = [];
  for (let joint = 0; joint < nJoints; joint++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++) {
        const score = at(joint, y, x);
        const [left, right] = [at(joint, y, x - 1), at(joint, y, x + 1)];
        const [up, down] = [at(joint, y - 1, x), at(joint, y + 1, x)];
        if (score < PEAK || score < left || score < up || score <= right || score <= down) continue;
        peaks.push({
          joint, score,
          x: STRIDE * (x + shift(left, score, right)) + HEATMAP_OFFSET,
          y: STRIDE * (y + shift(up, score, down)) + HEATMAP_OFFSET,
        });
      }
  return peaks;
}

// Pairs of peaks whose PAF points from one to the other (equation 10), greedily the best first.
function matchLimbs(pafs, peaks, limbs) {
  const indices = (joint) => peaks.flatMap((peak, i) => (peak.joint === joint ? [i] : []));
  return limbs.flatMap(([a, b], limb) => {
    const candidates = [];
    for (const from of indices(a))
      for (const to of indices(b)) {
        const score = along(pafs, limb, peaks[from], peaks[to]);
        if (score !== null) candidates.push({ from, to, score });
      }
    const used = new Set();
    return candidates.sort((one, other) => other.score - one.score).filter(({ from, to }) => {
      if (used.has(from) || used.has(to)) return false;
      used.add(from).add(to);
      return true;
    });
  });
}

function along(pafs, limb, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.max(Math.hypot(dx, dy), 1e-3);
  const cell = (px) => Math.round((px - PAF_OFFSET) / STRIDE);
  let [sum, nAlong] = [0, 0];
  for (let i = 0; i < SAMPLES; i++) {
    const t = i / (SAMPLES - 1);
    const [y, x] = [cell(from.y + t * dy), cell(from.x + t * dx)];
    const value = (pafs.at(2 * limb, y, x) * dx + pafs.at(2 * limb + 1, y, x) * dy) / length;
    sum += value;
    nAlong += value > ALONG;
  }
  return nAlong >= 0.8 * SAMPLES ? sum / SAMPLES : null;
}

// People: limbs that share a peak, unless that gives a person a joint twice. The best are first.
function assemble(limbs, peaks, nJoints) {
  const people = peaks.map((peak) => {
    const person = Array(nJoints).fill(null);
    person[peak.joint] = peak;
    return person;
  });
  const owner = new Map(people.map((person, i) => [peaks[i], person]));
  for (const { from, to } of limbs.sort((one, other) => other.score - one.score)) {
    const [into, other] = [owner.get(peaks[from]), owner.get(peaks[to])];
    if (into === other || into.some((joint, k) => joint && other[k])) continue;
    other.forEach((joint, k) => {
      if (!joint) return;
      into[k] = joint;
      owner.set(joint, into);
      other[k] = null;
    });
  }
  return people;
}
