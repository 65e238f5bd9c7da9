"use strict";
// Sends a picture, waits for its people, draws both, and only then sends the next one: what is on
// the screen always belongs together, and no queue can build up anywhere.

const CAMERA = 0, PICTURE = 1;
const LONGEST_PX = 640;        // more than the network looks at would only take time
const LEFT = "#ff8a14", RIGHT = "#2696ff", MIDDLE = "#d6f06a", DARK = "#181a1e";
const LIMBS = [
  "left_shoulder left_elbow", "left_elbow left_wrist", "right_shoulder right_elbow",
  "right_elbow right_wrist", "left_hip left_knee", "left_knee left_ankle", "right_hip right_knee",
  "right_knee right_ankle", "left_shoulder right_shoulder", "left_hip right_hip",
  "left_shoulder left_hip", "right_shoulder right_hip", "nose left_eye", "nose right_eye",
  "left_eye left_ear", "right_eye right_ear",
].map((pair) => pair.split(" "));
const LEAST_SCORE = 0.1;

const $ = (id) => document.getElementById(id);
const view = $("view"), pen = view.getContext("2d"), video = $("video");
const still = document.createElement("canvas");   // the picture that was sent
let socket = null, stream = null, facing = "user";
let inFlight = false, paused = false, waiting = null, sentAt = 0, times = [], pauseMs = 500;

function say(text) { $("message").textContent = text; }

function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/poses");
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    inFlight = false; pauseMs = 500;
    say(stream || waiting ? "" : "Press Camera, or drop a picture.");
    next();
  };
  socket.onmessage = (event) => { inFlight = false; answer(JSON.parse(event.data)); next(); };
  socket.onclose = (event) => {
    inFlight = false;
    say(event.reason ? `The server says: ${event.reason}` : "The server is gone; trying again …");
    setTimeout(connect, pauseMs);
    pauseMs = Math.min(2 * pauseMs, 10000);
  };
}

async function startCamera() {
  stopCamera();
  if (!navigator.mediaDevices) {
    say("This browser gives no camera to pages that are not on localhost or HTTPS. " +
        "Drop a picture instead.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: LONGEST_PX }, frameRate: { ideal: 60 } },
    });
  } catch (error) {
    const why = { NotAllowedError: "The camera was not allowed.", NotFoundError:
      "There is no camera.", NotReadableError: "Another program has the camera." };
    say((why[error.name] || `The camera does not start: ${error.message}.`) +
        " Drop a picture instead.");
    return;
  }
  stream.getVideoTracks()[0].onended = () => { stopCamera(); say("The camera was unplugged."); };
  video.srcObject = stream;
  await video.play();
  $("pause").hidden = $("flip").hidden = false;
  $("mirror").checked = facing === "user";
  paused = false; times = [];
  say("");
  next();
}

function stopCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("pause").hidden = $("flip").hidden = true;
}

function showPicture(file) {
  if (!file || !/^image\/(jpeg|png|webp)$/.test(file.type)) {
    say("Expected a JPEG, PNG or WebP picture.");
    return;
  }
  stopCamera();
  createImageBitmap(file).then((picture) => {
    waiting = picture; $("mirror").checked = false; say(""); next();
  }, () => say("This picture cannot be read."));
}

function next() {
  if (inFlight || !socket || socket.readyState !== WebSocket.OPEN) return;
  if (waiting) {
    const picture = waiting; waiting = null;
    send(picture, picture.width, picture.height, PICTURE, 1600);
  } else if (stream && !paused && video.videoWidth) {
    send(video, video.videoWidth, video.videoHeight, CAMERA, LONGEST_PX);
  } else if (stream && !paused) {
    requestAnimationFrame(next);
  }
}

function send(source, width, height, kind, longest) {
  inFlight = true;
  const scale = Math.min(1, longest / Math.max(width, height));
  still.width = Math.round(width * scale); still.height = Math.round(height * scale);
  still.getContext("2d").drawImage(source, 0, 0, still.width, still.height);
  sentAt = performance.now();
  still.toBlob((blob) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(new Blob([Uint8Array.of(kind), blob]));
    else inFlight = false;
  }, "image/jpeg", 0.85);
}

function answer(found) {
  if (found.error) { say(`The server says: ${found.error}`); stopCamera(); return; }
  const now = performance.now();
  times.push(now);
  while (times.length > 30) times.shift();
  const rate = times.length > 1 ? 1000 * (times.length - 1) / (now - times[0]) : 0;
  $("people").textContent = found.people.length;
  $("noun").textContent = found.people.length === 1 ? "person" : "people";
  $("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  $("latency").textContent = Math.round(now - sentAt);
  draw(found);
  document.body.dataset.answered = Number(document.body.dataset.answered || 0) + 1;
}

function draw(found) {
  view.width = still.width; view.height = still.height;
  const mirrored = $("mirror").checked;
  const X = (x) => mirrored ? view.width - 1 - x : x;
  pen.save();
  if (mirrored) { pen.translate(view.width, 0); pen.scale(-1, 1); }
  pen.drawImage(still, 0, 0);
  pen.restore();
  pen.lineCap = "round";
  for (const person of found.people) {
    const joints = {};
    found.joints.forEach((name, k) => {
      const joint = person.joints[k];
      if (joint && joint[2] >= LEAST_SCORE) joints[name] = [X(joint[0]), joint[1]];
    });
    drawPerson(joints, person.id);
  }
}

function drawPerson(joints, id) {
  const places = Object.values(joints);
  if (!places.length) return;
  const ys = places.map((p) => p[1]), xs = places.map((p) => p[0]);
  const size = Math.max(Math.max(...ys) - Math.min(...ys), Math.max(...xs) - Math.min(...xs));
  const width = Math.min(Math.max(size / 45, 2), 8);
  const side = (a, b) => a.startsWith("left") && b.startsWith("left") ? LEFT
    : a.startsWith("right") && b.startsWith("right") ? RIGHT : MIDDLE;
  for (const [color, extra] of [[DARK, 2], [null, 0]]) {
    for (const [a, b] of LIMBS) {
      if (!joints[a] || !joints[b]) continue;
      pen.strokeStyle = color || side(a, b);
      pen.lineWidth = width + extra;
      pen.beginPath(); pen.moveTo(...joints[a]); pen.lineTo(...joints[b]); pen.stroke();
    }
    for (const [name, place] of Object.entries(joints)) {
      pen.fillStyle = color || side(name, name);
      pen.beginPath(); pen.arc(...place, (width + extra) * 0.75, 0, 7); pen.fill();
    }
  }
  if (id !== null) {
    const x = (Math.min(...xs) + Math.max(...xs)) / 2, y = Math.max(Math.min(...ys) - 12, 14);
    pen.font = "600 15px system-ui, sans-serif"; pen.textAlign = "center";
    pen.lineWidth = 4; pen.strokeStyle = DARK; pen.strokeText(`#${id}`, x, y);
    pen.fillStyle = "#fff"; pen.fillText(`#${id}`, x, y);
  }
}

$("camera").onclick = startCamera;
$("flip").onclick = () => { facing = facing === "user" ? "environment" : "user"; startCamera(); };
$("pause").onclick = () => {
  paused = !paused; times = []; $("pause").textContent = paused ? "Go on" : "Pause"; next();
};
$("file").onchange = (event) => { showPicture(event.target.files[0]); event.target.value = ""; };
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault(); document.body.classList.remove("dropping");
  showPicture(event.dataTransfer.files[0]);
});
connect();
