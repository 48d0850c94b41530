// Uploads: files dropped on a directory or chosen, two at a time, with their progress. What is there already is never
// replaced without being asked.

import { html, useContext, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import * as api from "../lib/api.js";
import { size } from "../lib/format.js";
import * as keys from "../lib/key.js";
import { Announce } from "./parts.js";
import { dropped } from "../lib/drop.js";

const AT_ONCE = 2;
let counter = 0;

export function Uploads({ store, dir, done, children }) {
  const announce = useContext(Announce);
  const [jobs, setJobs] = useState([]);
  const [over, setOver] = useState(false);
  const queue = useRef([]);
  const running = useRef(0);
  const depth = useRef(0);
  const input = useRef(null);
  const change = (id, fields) => setJobs((all) => all.map((j) => (j.id === id ? { ...j, ...fields } : j)));

  const pump = () => {
    while (running.current < AT_ONCE && queue.current.length > 0) run(queue.current.shift());
  };
  const run = async (job) => {
    running.current++;
    change(job.id, { state: "running", loaded: 0, error: null });
    const onProgress = (loaded) => change(job.id, { loaded });
    try {
      const options = { name: job.name, ifAbsent: !job.replace, onProgress, signal: job.abort.signal };
      await api.upload(store.id, job.key, job.file, options);
      change(job.id, { state: "done", loaded: job.file.size });
      announce(`${job.name} is uploaded`);
      done();
    } catch (error) {
      const state = error.status === 412 && !job.replace ? "exists" : error.code === "cancelled" ? "cancelled" : "failed";
      change(job.id, { state, error });
      announce(state === "exists" ? `${job.name} is there already` : `${job.name}: ${error.message}`);
    } finally {
      running.current--;
      pump();
    }
  };
  const enqueue = (job) => {
    queue.current.push(job);
    pump();
  };
  const add = (files) => {
    const made = files.map(({ file, path }) => {
      const key = keys.join(dir, keys.fromText(path));
      const name = keys.shown(keys.fromText(path));
      return { id: ++counter, key, name, file, state: "waiting", loaded: 0, abort: new AbortController() };
    });
    setJobs((all) => [...all.filter((j) => j.state !== "done"), ...made]);
    made.forEach(enqueue);
  };
  const again = (job, replace) => {
    const next = { ...job, replace, abort: new AbortController() };
    change(job.id, { ...next, state: "waiting" });
    enqueue(next);
  };
  const drop = (id) => {
    queue.current = queue.current.filter((j) => j.id !== id);
    setJobs((all) => all.filter((j) => j.id !== id));
  };
  const stop = (job) => (job.state === "running" ? job.abort.abort() : drop(job.id));
  const leave = (e) => {
    if (jobs.some((j) => j.state === "running")) e.preventDefault();
  };
  useEffect(() => {
    addEventListener("beforeunload", leave);
    return () => removeEventListener("beforeunload", leave);
  });

  const files = (e) => [...e.dataTransfer.types].includes("Files");
  const events = {
    onDragEnter: (e) => files(e) && (e.preventDefault(), depth.current++, setOver(true)),
    onDragOver: (e) => files(e) && e.preventDefault(),
    onDragLeave: () => --depth.current <= 0 && ((depth.current = 0), setOver(false)),
    onDrop: async (e) => {
      if (!files(e)) return;
      e.preventDefault();
      depth.current = 0;
      setOver(false);
      add(await dropped(e.dataTransfer));
    },
  };
  const choose = (e) => {
    add([...e.target.files].map((file) => ({ file, path: file.name })));
    e.target.value = "";
  };
  return html`<div class="drop ${over ? "over" : ""}" ...${events}>
    <div class="drop-bar">
      <button class="primary" onClick=${() => input.current.click()}>Upload files</button>
      <input ref=${input} type="file" multiple class="hidden" tabindex="-1" aria-label="Files to upload" onChange=${choose} />
      <span class="quiet wide-only">or drop them here</span>
    </div>
    ${jobs.length > 0 &&
    html`<ul class="list uploads" aria-label="Uploads">
      ${jobs.map((job) => html`<${Job} key=${job.id} job=${job} stop=${stop} again=${again} drop=${drop} />`)}
    </ul>`}
    ${children}
  </div>`;
}

const WORDS = { waiting: "waiting", done: "done", cancelled: "cancelled", exists: "is there already" };

function Job({ job, stop, again, drop }) {
  const { state, file, loaded, error } = job;
  const percent = file.size === 0 ? 100 : Math.floor((loaded / file.size) * 100);
  const under = state === "running" || state === "waiting";
  return html`<li class="row">
    <div class="grow">
      <span class="name">${job.name}</span>
      <p class="facts"><span>${size(file.size)}</span><span>${state === "running" ? `${percent} %` : WORDS[state]}</span></p>
      ${state === "running" && html`<progress max="100" value=${percent} aria-label="Upload of ${job.name}"></progress>`}
      ${state === "failed" && html`<p class="bad" role="alert">Couldn't ${error.what}. ${error.message} ${error.next}</p>`}
    </div>
    ${under && html`<button onClick=${() => stop(job)} aria-label="Cancel the upload of ${job.name}">Cancel</button>`}
    ${state === "exists" && html`<button onClick=${() => again(job, true)} aria-label="Replace ${job.name}">Replace</button>`}
    ${state === "failed" &&
    html`<button onClick=${() => again(job, job.replace)} aria-label="Try ${job.name} again">Try again</button>`}
    ${!under && html`<button onClick=${() => drop(job.id)} aria-label="Dismiss ${job.name}">Dismiss</button>`}
  </li>`;
}
