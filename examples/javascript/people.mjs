// The people of an image in Node: node people.mjs MODEL.onnx SKELETON.txt IMAGE
import { readFile } from "node:fs/promises";

import * as ort from "onnxruntime-web";
import sharp from "sharp";

import { parse, readSkeleton } from "./parser.mjs";

const SHORT_SIDE = 368;
const [model, skeletonFile, photo] = process.argv.slice(2);
const skeleton = readSkeleton(await readFile(skeletonFile, "utf8"));

// RGB values of 0 to 255 as (1, 3, h, w); the normalization is inside of the model.
const image = sharp(photo).rotate().removeAlpha().toColorspace("srgb");
const { info: { width, height } } = await image.clone().toBuffer({ resolveWithObject: true });
const scale = SHORT_SIDE / Math.min(width, height);
const [w, h] = [width, height].map((side) => 8 * Math.round((side * scale) / 8));
const pixels = await image.resize(w, h, { fit: "fill", kernel: "linear" }).raw().toBuffer();
const input = new Float32Array(3 * h * w);
for (let i = 0; i < h * w; i++)
  for (let c = 0; c < 3; c++) input[c * h * w + i] = pixels[3 * i + c];

const session = await ort.InferenceSession.create(new Uint8Array(await readFile(model)));
const { heatmaps, pafs } = await session.run({
  images: new ort.Tensor("float32", input, [1, 3, h, w]),
});
parse(heatmaps, pafs, skeleton).forEach((person, n) => {
  console.log(`person ${n}`);
  person.forEach((joint, k) => {
    if (!joint) return; // from px of the network's input to px of the image
    const x = ((joint.x + 0.5) * width) / w - 0.5, y = ((joint.y + 0.5) * height) / h - 0.5;
    console.log(`  ${skeleton.joints[k]} ${x.toFixed(1)} ${y.toFixed(1)} ${joint.score.toFixed(2)}`);
  });
});
