// Clients of the main backend's log: `ws` on `/` and `/nest`, and `socket.io-client` by WebSocket and by polling. Each
// is cut now and then, connects again behind the highest number that it has got, and notes all that comes.
"use strict";

const { io } = require("socket.io-client");
const WebSocket = require("ws");

const AGAIN_MS = 20;
const readers = new Map();

class Reader {
  constructor({ url, key, kind, after, cutEvery }) {
    Object.assign(this, { url, kind, after, cutEvery: cutEvery ?? Infinity, headers: { "X-Kounter-Key": key } });
    this.numbers = [];
    this.connections = 0;
    this.isCut = false; // a dead client takes nothing more, though some may have come
    this.refused = null; // {frame, code} of a server that does not want this client
    this.ended = false;
    this.waiting = [];
    this.start = kind.startsWith("io") ? this.startSocketIo : this.startWebSocket;
  }

  get state() {
    const { numbers, connections, refused } = this;
    return { numbers, connections, refused };
  }

  opened() {
    this.connections += 1;
    this.isCut = false;
  }

  take(frame) {
    if (this.isCut) return;
    if (frame.error) {
      this.refused = { frame };
      return;
    }
    const number = frame.data.data.update_id;
    this.numbers.push(number);
    this.after = number;
    if (this.numbers.length % this.cutEvery === 0) {
      this.isCut = true;
      this.cut();
    }
    this.settle();
  }

  settle() {
    this.waiting = this.waiting.filter(({ count, resolve }) => {
      if (this.numbers.length < count && !this.refused?.code) return true;
      resolve(this.state);
      return false;
    });
  }

  reach(count) {
    return new Promise((resolve) => {
      this.waiting.push({ count, resolve });
      this.settle();
    });
  }

  startWebSocket() {
    const url = this.after === undefined ? this.url : `${this.url}?after=${this.after}`;
    const socket = new WebSocket(url, { headers: this.headers });
    this.cut = () => socket.terminate();
    socket.on("open", () => this.opened());
    socket.on("message", (text) => {
      const said = JSON.parse(text);
      this.take(this.kind === "nest" ? said.data : said);
    });
    socket.on("error", () => {}); // `close` follows
    socket.on("close", (code) => {
      if (this.refused) {
        this.refused.code = code;
        this.settle();
      } else if (!this.ended) setTimeout(() => this.ended || this.startWebSocket(), AGAIN_MS);
    });
  }

  startSocketIo() {
    const by = this.kind === "io-polling" ? "polling" : "websocket";
    const socket = io(this.url.replace("ws:", "http:"), {
      auth: (give) => give(this.after === undefined ? {} : { after: this.after }),
      extraHeaders: this.headers,
      forceNew: true,
      reconnectionDelay: AGAIN_MS,
      reconnectionDelayMax: 10 * AGAIN_MS,
      transports: [by],
    });
    this.cut = () => {
      const { engine } = socket.io;
      if (by === "websocket") engine.transport.ws.terminate();
      else engine.close();
    };
    this.stop = () => socket.disconnect();
    socket.on("connect", () => this.opened());
    socket.on("events", (frame) => this.take(frame));
    socket.on("connect_error", (error) => {
      if (!error.data) return; // the server is away
      this.refused = { frame: error.data, code: error.message };
      this.settle();
    });
  }

  end() {
    this.ended = true;
    (this.stop ?? this.cut)();
  }
}

module.exports = {
  startReader: (given) => {
    const reader = new Reader(given);
    readers.set(given.name, reader);
    reader.start();
  },
  reachInReader: ({ name, count }) => readers.get(name).reach(count),
  endReader: ({ name }) => {
    const reader = readers.get(name);
    readers.delete(name);
    reader.end();
    return reader.state;
  },
};
