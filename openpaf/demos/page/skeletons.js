"use strict";
// Draws people as openpaf.draw_poses does: left orange, right blue, between them light green.

const LEFT = "#ff8a14", RIGHT = "#2696ff", MIDDLE = "#d6f06a", DARK = "#181a1e";
const LIMBS = [
  "left_shoulder left_elbow", "left_elbow left_wrist", "right_shoulder right_elbow",
  "right_elbow right_wrist", "left_hip left_knee", "left_knee left_ankle", "right_hip right_knee",
  "right_knee right_ankle", "left_shoulder right_shoulder", "left_hip right_hip",
  "left_shoulder left_hip", "right_shoulder right_hip", "nose left_eye", "nose right_eye",
  "left_eye left_ear", "right_eye right_ear", "nose neck", "head neck", "neck left_shoulder",
  "neck right_shoulder",
].map((pair) => pair.split(" "));
const FACE = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"];  // drawn finer
const LEAST_SCORE = 0.1, SURE_SCORE = 0.5, FAINTEST = 0.35;

// place(x, y) is the position of a joint in px of the canvas of pen.
function drawPeople(pen, result, place) {
  pen.lineCap = "round";
  for (const person of result.people) {
    const joints = {};
    result.joints.forEach((name, k) => {
      const joint = person.joints[k];
      if (joint && joint[2] >= LEAST_SCORE) {
        joints[name] = { at: place(joint[0], joint[1]), score: joint[2] };
      }
    });
    drawPerson(pen, joints, person.id);
  }
}

function drawPerson(pen, joints, id) {
  const places = Object.values(joints).map((joint) => joint.at);
  if (!places.length) return;
  const xs = places.map((p) => p[0]), ys = places.map((p) => p[1]);
  const size = Math.max(Math.max(...ys) - Math.min(...ys), Math.max(...xs) - Math.min(...xs));
  const least = Math.max(2, Math.min(pen.canvas.width, pen.canvas.height) / 280);
  const width = Math.min(Math.max(size / 42, least), 4 * least);
  const strokes = [...limbsOf(joints, width), ...discsOf(joints, width)];
  for (const stroke of strokes) paint(pen, stroke, DARK, Math.max(2, 0.4 * width));
  for (const stroke of strokes) paint(pen, stroke, stroke.color, 0);
  pen.globalAlpha = 1;
  if (id !== null) drawId(pen, `#${id}`, (Math.min(...xs) + Math.max(...xs)) / 2, topOf(joints, ys));
}

function colorOf(a, b) {
  return a.startsWith("left") && b.startsWith("left") ? LEFT
    : a.startsWith("right") && b.startsWith("right") ? RIGHT : MIDDLE;
}

// Weak joints and their limbs are transparent.
function alphaOf(score) { return Math.min(Math.max(score / SURE_SCORE, FAINTEST), 1); }

function limbsOf(joints, width) {
  const limbs = LIMBS.filter(([a, b]) => joints[a] && joints[b]).map(([a, b]) => ({
    from: joints[a].at, to: joints[b].at, color: colorOf(a, b),
    alpha: alphaOf(Math.min(joints[a].score, joints[b].score)),
    width: FACE.includes(a) && FACE.includes(b) ? 0.6 * width : width,
  }));
  const { nose, left_shoulder: left, right_shoulder: right, neck } = joints;
  if (nose && left && right && !neck) {   // the head is connected to the midpoint of the shoulders
    limbs.push({
      from: nose.at, to: [0, 1].map((k) => (left.at[k] + right.at[k]) / 2), color: MIDDLE, width,
      alpha: alphaOf(Math.min(nose.score, left.score, right.score)),
    });
  }
  return limbs;
}

function discsOf(joints, width) {
  return Object.entries(joints).map(([name, joint]) => ({
    from: joint.at, to: joint.at, color: colorOf(name, name), alpha: alphaOf(joint.score),
    width: FACE.includes(name) ? width : 1.75 * width,
  }));
}

function paint(pen, stroke, color, extra) {
  pen.globalAlpha = stroke.alpha;
  pen.fillStyle = pen.strokeStyle = color;
  pen.beginPath();
  if (stroke.from === stroke.to) {      // a line of no length would not be drawn
    pen.arc(...stroke.from, (stroke.width + extra) / 2, 0, 2 * Math.PI); pen.fill();
    return;
  }
  pen.lineWidth = stroke.width + extra;
  pen.moveTo(...stroke.from); pen.lineTo(...stroke.to); pen.stroke();
}

// The top of the head: as far above the face as the face is wide.
function topOf(joints, ys) {
  const face = FACE.filter((name) => joints[name]).map((name) => joints[name].at[0]);
  const width = face.length > 1 ? Math.max(...face) - Math.min(...face) : 0;
  return Math.min(...ys) - 0.8 * width;
}

function drawId(pen, text, x, top) {
  const px = Math.max(13 * devicePixelRatio, Math.min(pen.canvas.width, pen.canvas.height) / 40);
  pen.font = `600 ${px}px system-ui, sans-serif`;
  pen.textAlign = "center"; pen.textBaseline = "bottom";
  const y = Math.max(top - 0.5 * px, 1.2 * px);
  pen.lineJoin = "round"; pen.lineWidth = px / 4; pen.strokeStyle = DARK;
  pen.strokeText(text, x, y);
  pen.fillStyle = "#fff"; pen.fillText(text, x, y);
}
