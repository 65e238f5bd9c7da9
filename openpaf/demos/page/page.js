"use strict";
// Sends an image, waits for its people, draws both, and only then sends the next one: image and
// people on the screen always belong together, and no queue can build up.

const CAMERA = 0, IMAGE = 1;
const SENT_PX = { [CAMERA]: 640, [IMAGE]: 1600 };  // longer side in px
const DRAWN_PX = 1920;         // longest side of the canvas, in pixels of the screen up to this

const $ = (id) => document.getElementById(id);
const view = $("view"), pen = view.getContext("2d"), video = $("video");
const still = document.createElement("canvas");   // the image that was sent
const INVITATION = "Press Camera, or drop an image here.";
const IDLE = 4000;             // code with which the server closes idle connections
let socket = null, stream = null, facing = "user";
let inFlight = false, paused = false, waiting = null, sent = null, times = [], pauseMs = 500;
let shown = null;              // the answer that is on the canvas

function say(text) { $("message").textContent = text; }

function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/poses");
  socket.onopen = () => {
    inFlight = false; pauseMs = 500;
    say(stream || waiting || shown ? "" : INVITATION);
    next();
  };
  socket.onmessage = (event) => { inFlight = false; answer(JSON.parse(event.data)); next(); };
  socket.onclose = (event) => {
    inFlight = false;
    if (event.code === IDLE) { socket = null; return; }   // next() connects again
    say(event.reason ? `The server says: ${event.reason}` : "The server is gone; trying again …");
    setTimeout(connect, pauseMs);
    pauseMs = Math.min(2 * pauseMs, 10000);
  };
}

async function startCamera() {
  stopCamera();
  if (!navigator.mediaDevices) {
    say("This browser gives no camera to pages that are not on localhost or HTTPS. " +
        "Drop an image instead.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: SENT_PX[CAMERA] }, frameRate: { ideal: 60 } },
    });
  } catch (error) {
    const why = { NotAllowedError: "The camera was not allowed.", NotFoundError:
      "There is no camera.", NotReadableError: "Another program has the camera." };
    say((why[error.name] || `The camera does not start: ${error.message}.`) +
        " Drop an image instead.");
    return;
  }
  stream.getVideoTracks()[0].onended = () => { stopCamera(); say("The camera was unplugged."); };
  video.srcObject = stream;
  await video.play();
  $("pause").hidden = $("flip").hidden = false;
  $("camera").textContent = "Stop camera";
  $("mirror").checked = facing === "user";
  setPaused(false);
  say("");
  next();
}

function stopCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("pause").hidden = $("flip").hidden = true;
  $("camera").textContent = "Camera";
}

function setPaused(yes) {
  paused = yes; times = [];
  $("pause").textContent = paused ? "Resume" : "Pause";
}

function showImage(file) {
  if (!file || !/^image\/(jpeg|png|webp)$/.test(file.type)) {
    say("Expected a JPEG, PNG or WebP image.");
    return;
  }
  stopCamera();
  createImageBitmap(file).then((image) => {
    waiting = image; $("mirror").checked = false; say(""); next();
  }, () => say("This image cannot be read."));
}

function next() {
  const records = stream && !paused && !document.hidden;
  if (inFlight || !(waiting || records)) return;
  if (!socket) { connect(); return; }
  if (socket.readyState !== WebSocket.OPEN) return;
  if (waiting) {
    const image = waiting; waiting = null;
    send(image, image.width, image.height, IMAGE);
    image.close();
  } else if (video.videoWidth) {
    send(video, video.videoWidth, video.videoHeight, CAMERA);
  } else {
    requestAnimationFrame(next);
  }
}

function send(source, width, height, kind) {
  inFlight = true;
  const to = socket;           // there may be another one when the image is encoded
  const scale = Math.min(1, SENT_PX[kind] / Math.max(width, height));
  still.width = Math.round(width * scale); still.height = Math.round(height * scale);
  still.getContext("2d").drawImage(source, 0, 0, still.width, still.height);
  sent = { kind, at: performance.now() };
  still.toBlob((blob) => {
    if (to.readyState === WebSocket.OPEN) to.send(new Blob([Uint8Array.of(kind), blob]));
  }, "image/jpeg", 0.85);
}

function answer(result) {
  if (result.error) { say(`The server says: ${result.error}`); stopCamera(); return; }
  const now = performance.now();
  times = sent.kind === CAMERA ? [...times.slice(-29), now] : [];
  const rate = times.length > 1 ? 1000 * (times.length - 1) / (now - times[0]) : 0;
  $("people").textContent = result.people.length;
  $("noun").textContent = result.people.length === 1 ? "person" : "people";
  $("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  $("rate").parentElement.hidden = !rate;    // a single image has none
  $("latency").textContent = Math.round(now - sent.at);
  shown = result;
  draw();
  $("save").hidden = false;
  document.body.dataset.answered = Number(document.body.dataset.answered || 0) + 1;
}

// The canvas has the resolution of the screen, so that lines are sharp.
function draw() {
  const room = Math.min(view.clientWidth / still.width, view.clientHeight / still.height);
  const most = DRAWN_PX / Math.max(still.width, still.height);
  const scale = Math.min(Math.max(room * devicePixelRatio, 1), most);
  view.width = Math.round(still.width * scale); view.height = Math.round(still.height * scale);
  const mirrored = $("mirror").checked;
  pen.save();
  if (mirrored) { pen.translate(view.width, 0); pen.scale(-1, 1); }
  pen.drawImage(still, 0, 0, view.width, view.height);
  pen.restore();
  // Integers are the centers of pixels.
  const place = (x, y) => [(mirrored ? still.width - x - 0.5 : x + 0.5) * scale, (y + 0.5) * scale];
  drawPeople(pen, shown, place);
}

// While an image is in flight, its answer will be drawn soon; the last one is of another image.
function drawAgain() { if (shown && !inFlight) draw(); }

function saveImage() {
  view.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `openpaf-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

$("camera").onclick = () => { if (stream) { stopCamera(); say(""); } else startCamera(); };
$("flip").onclick = () => { facing = facing === "user" ? "environment" : "user"; startCamera(); };
$("pause").onclick = () => { setPaused(!paused); next(); };
$("save").onclick = saveImage;
$("mirror").onchange = drawAgain;
addEventListener("resize", drawAgain);
document.addEventListener("visibilitychange", () => { times = []; next(); });
$("file").onchange = (event) => { showImage(event.target.files[0]); event.target.value = ""; };
addEventListener("dragover", (event) => {
  event.preventDefault(); document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {    // of the window, not from one part to the next
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault(); document.body.classList.remove("dropping");
  showImage(event.dataTransfer.files[0]);
});
connect();
