// One stream of changes for all tabs of a browser, however many there are: browsers allow few connections to a host.
// This runs in a shared worker that all tabs have in common. Where there are none, each tab runs it for itself.
(() => {
  "use strict";
  const SILENT_MS = 15_000; // three heartbeats
  const GONE_MS = 180_000; // a tab in the background says that it is there once a minute
  const MOST = 64; // parts of one stream

  const isShared = "SharedWorkerGlobalScope" in self;
  if (!isShared && "SharedWorker" in self) return;

  class Stream {
    // `members`: tabs by number, with the parts that each shows, and how it is told.
    constructor() {
      this.members = new Map();
      this.parts = new Set();
      this.place = "";
      this.source = null;
      this.opening = null;
      this.wait = 500;
      this.heard = 0;
      this.since = Date.now();
      this.state = "connecting";
      setInterval(() => this.look(), 5_000);
    }

    // A tab shows `parts`, as they were at the event `after`; empty: it was told of all since.
    join(key, parts, after, tell) {
      this.members.set(key, { parts: new Set(parts), tell, seen: Date.now() });
      tell({ kind: "state", state: this.state, since: this.since });
      const isNew = parts.some((part) => !this.parts.has(part));
      if (after) this.place = this.place ? earlier(this.place, after) : after;
      if (isNew || after || !this.source) this.openSoon(50);
    }

    leave(key) {
      this.members.delete(key);
      if (!this.members.size) this.close();
    }

    openSoon(ms) {
      clearTimeout(this.opening);
      this.opening = setTimeout(() => this.open(), ms);
    }

    close() {
      clearTimeout(this.opening);
      this.source?.close();
      this.source = null;
      this.parts = new Set();
    }

    open() {
      this.close();
      const all = [...new Set([...this.members.values()].flatMap(({ parts }) => [...parts]))];
      if (!all.length) return;
      this.parts = new Set(all.slice(0, MOST));
      const query = new URLSearchParams([...this.parts].map((part) => ["part", part]));
      if (this.place) query.set("after", this.place);
      const source = new EventSource(`/live?${query}`);
      this.source = source;
      this.heard = Date.now();
      const on = (kind, take) =>
        source.addEventListener(kind, (event) => {
          if (source !== this.source) return;
          if (event.lastEventId) this.place = event.lastEventId;
          this.heard = Date.now();
          take(event);
        });
      on("hello", () => {
        this.wait = 500;
        this.be("live");
      });
      on("alive", () => this.be("live"));
      on("changed", (event) => this.changed(new Set(JSON.parse(event.data))));
      on("reload", () => this.changed(null));
      on("revoked", () => {
        this.close();
        this.be("ended");
        this.changed(null);
      });
      source.addEventListener("error", () => {
        if (source !== this.source) return;
        this.be("down");
        // Otherwise the browser tries again by itself.
        if (source.readyState === EventSource.CLOSED) this.again();
      });
    }

    again() {
      this.openSoon(this.wait * (0.5 + Math.random()));
      this.wait = Math.min(2 * this.wait, 15_000);
    }

    be(state) {
      if (state !== this.state) {
        this.state = state;
        this.since = Date.now();
      }
      for (const { tell } of this.members.values()) tell({ kind: "state", state, since: this.since });
    }

    changed(parts) {
      for (const member of this.members.values()) {
        if (parts === null || [...member.parts].some((part) => parts.has(part))) member.tell({ kind: "changed" });
      }
    }

    look() {
      const now = Date.now();
      for (const [key, { seen }] of this.members) if (now - seen > GONE_MS) this.leave(key);
      if (this.source && this.source.readyState !== EventSource.CLOSED && now - this.heard > SILENT_MS) {
        this.be("down");
        this.open();
      }
    }
  }

  // Of two ids the one that is nearer to the beginning. Ids of different processes cannot be compared: neither is known.
  function earlier(one, other) {
    const [[process, number], [itsProcess, itsNumber]] = [one.split("-"), other.split("-")];
    if (process !== itsProcess) return "unknown";
    return Number(number) <= Number(itsNumber) ? one : other;
  }

  const stream = new Stream();
  if (isShared) {
    let tabs = 0;
    self.addEventListener("connect", ({ ports: [port] }) => {
      const key = ++tabs;
      port.onmessage = ({ data }) => {
        if (data.leave) stream.leave(key);
        else stream.join(key, data.parts, data.after, (message) => port.postMessage(message));
      };
    });
  } else {
    self.VoltbusStream = stream;
  }
})();
