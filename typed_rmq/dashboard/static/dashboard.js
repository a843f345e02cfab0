// The dashboard works without this script. With it, pages stay fresh, questions open above the page,
// and light or dark can be chosen.
"use strict";

const root = document.documentElement;
const store = {
  get(key) { try { return localStorage.getItem("typed-rmq-" + key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem("typed-rmq-" + key, value); } catch { /* private */ } },
};

// Before the first paint: this file is loaded in the head.
const chosen = store.get("theme");
if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

// A page as a document. Nothing in it runs, and no markup is ever made from text.
function load(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 20000;
    request.onload = () => {
      if (request.status < 400 && request.response) resolve(request.response);
      else reject(new Error(String(request.status)));
    };
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  const news = document.getElementById("news");
  const live = document.getElementById("live");

  // --- light and dark

  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    store.set("theme", root.dataset.theme);
    name();
  });
  dark.addEventListener("change", name);
  name();

  // --- staying fresh

  // A part is left alone while somebody is at work in it.
  function busy(part) {
    const selection = getSelection();
    return part.contains(document.activeElement)
      || part.querySelector("input:checked") !== null
      || (selection && !selection.isCollapsed && part.contains(selection.anchorNode));
  }

  function renew(fresh) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other || busy(part) || part.isEqualNode(other)) continue;
      const open = [...part.querySelectorAll("details")].map((one) => one.open);
      part.replaceChildren(...[...other.childNodes].map((node) => document.importNode(node, true)));
      [...part.querySelectorAll("details")].forEach((one, at) => { one.open = open[at] || false; });
    }
  }

  if (document.querySelector("[data-live]")) {
    const pause = Math.max(1000, 1000 * Number(document.body.dataset.interval) || 5000);
    let failed = false;
    let running = false;
    // Another address would say again what the last action came to.
    const here = location.pathname + location.search;
    async function turn() {
      if (running || document.hidden || live.getAttribute("aria-pressed") !== "true") return;
      if (document.querySelector("dialog[open]")) return;
      running = true;
      try {
        renew(await load(here));
        if (failed) news.textContent = "The dashboard answers again.";
        failed = false;
      } catch {
        if (!failed) news.textContent = "The dashboard does not answer. What is shown is not fresh.";
        failed = true;
      }
      live.classList.toggle("lost", failed);
      running = false;
    }
    live.hidden = false;
    if (store.get("live") === "off") live.setAttribute("aria-pressed", "false");
    live.addEventListener("click", () => {
      const on = live.getAttribute("aria-pressed") !== "true";
      live.setAttribute("aria-pressed", String(on));
      store.set("live", on ? "on" : "off");
      turn();
    });
    document.addEventListener("visibilitychange", turn);
    setInterval(turn, pause);
  }

  // --- choosing

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    for (const box of document.querySelectorAll("#messages input[name=id]")) box.checked = event.target.checked;
  });

  // --- questions, above the page

  async function ask(url) {
    let question;
    try {
      question = (await load(url)).querySelector(".confirm");
    } catch { /* the page itself says what is wrong */ }
    if (!question) { location.assign(url); return; }
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "question");
    dialog.append(document.importNode(question, true));
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
      if (event.target.closest("[data-close]")) { event.preventDefault(); dialog.close(); }
    });
    document.body.append(dialog);
    dialog.showModal();
    // Not on the button that deletes.
    dialog.querySelector(".danger") ? dialog.querySelector("[data-close]").focus() : dialog.querySelector("button").focus();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    ask(link.href);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-dialog]")) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    if (!fields.has("id")) { news.textContent = "No message is chosen."; return; }
    ask(form.getAttribute("action") + "?" + fields);
  });
});
