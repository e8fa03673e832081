import { areAll } from "./signals.js";

const held = document.querySelector("[data-rp-id]");
if (held) areAll(held.dataset);
