// NestJS gateways that play the developer's company: `WsAdapter` (Nest's envelope) and `IoAdapter` (Socket.IO).
"use strict";

require("reflect-metadata");
const { Module } = require("@nestjs/common");
const { NestFactory } = require("@nestjs/core");
const { IoAdapter } = require("@nestjs/platform-socket.io");
const { WsAdapter } = require("@nestjs/platform-ws");
const { SubscribeMessage, WebSocketGateway } = require("@nestjs/websockets");

const EVENT = "events";
const DENIED = {
  data: null,
  error: {
    id: 400,
    labels: { en: "Client connection denied!", ru: "Client connection denied!", uz: "Client connection denied!" },
    meta: { message: "Invalid custom header" },
  },
};
const opened = new Map();

/** The changes of a company, [number, frame], and what its clients did. */
class Log {
  constructor({ key, stream, cutEvery }) {
    this.key = key;
    this.cutEvery = cutEvery ?? Infinity;
    this.stream = [];
    this.clients = new Set();
    this.asked = []; // the number of each connection to resume after
    this.answers = [];
    this.refused = 0;
    this.push(stream);
  }

  push(stream) {
    this.stream.push(...stream.map(([number, text]) => [number, JSON.parse(text)]));
    for (const client of this.clients) client.pump();
  }

  isDenied(headers) {
    const denied = headers["x-kounter-key"] !== this.key;
    this.refused += denied;
    return denied;
  }

  /** `send(frame, isLast)` cuts the connection behind its last frame, without a close frame. */
  connect(after, send) {
    this.asked.push(after === null ? null : Number(after));
    const client = {
      at: 0,
      sent: 0,
      pump: () => {
        while (client.at < this.stream.length && client.sent < this.cutEvery) {
          const [number, frame] = this.stream[client.at++];
          if (number <= Number(after)) continue;
          client.sent += 1;
          send(frame, client.sent === this.cutEvery);
        }
      },
    };
    this.clients.add(client);
    client.pump();
    return client;
  }
}

function plainGateway(log) {
  return class {
    handleConnection(socket, request) {
      if (log.isDenied(request.headers)) {
        socket.send(JSON.stringify({ event: EVENT, data: DENIED }));
        socket.close(1008);
        return;
      }
      const after = new URL(request.url, "ws://host").searchParams.get("after");
      const send = (frame, isLast) => {
        socket.send(JSON.stringify({ event: EVENT, data: frame }), () => isLast && socket.terminate());
      };
      const client = log.connect(after, send);
      socket.on("close", () => log.clients.delete(client));
    }
  };
}

function socketIoGateway(log) {
  return class {
    afterInit(server) {
      server.use((socket, next) => {
        if (!log.isDenied(socket.handshake.headers)) return next();
        return next(Object.assign(new Error(DENIED.error.meta.message), { data: DENIED }));
      });
    }

    handleConnection(socket) {
      const { auth, query } = socket.handshake;
      const cut = () => {
        const { conn } = socket;
        if (conn.writeBuffer.length) conn.once("drain", cut);
        else conn.transport.socket.terminate();
      };
      const send = (frame, isLast) => {
        socket.emit(EVENT, frame);
        if (isLast) cut();
      };
      const client = log.connect(auth.after ?? query.after ?? null, send);
      socket.on("disconnect", () => log.clients.delete(client));
    }
  };
}

const KINDS = {
  ws: { gateway: plainGateway, adapter: WsAdapter, path: "/" },
  io: { gateway: socketIoGateway, adapter: IoAdapter, path: "/socket.io/" },
};

/** Decorators as the compiler of TypeScript would apply them. */
function decorated(Gateway, path, log) {
  Gateway.prototype.answered = (_client, frame) => void log.answers.push(frame);
  const descriptor = Object.getOwnPropertyDescriptor(Gateway.prototype, "answered");
  SubscribeMessage(EVENT)(Gateway.prototype, "answered", descriptor);
  WebSocketGateway({ path })(Gateway);
  class Company {}
  Module({ providers: [Gateway] })(Company);
  return Company;
}

async function open({ kind, port, ...more }) {
  const { gateway, adapter, path } = KINDS[kind];
  const log = new Log(more);
  // Nest writes its other lines to standard output, where answers go.
  const app = await NestFactory.create(decorated(gateway(log), path, log), { logger: ["error"], abortOnError: false });
  app.useWebSocketAdapter(new adapter(app));
  await app.listen(port ?? 0, "127.0.0.1");
  const found = app.getHttpServer().address().port;
  opened.set(found, { app, log });
  return found;
}

module.exports = {
  openGateway: open,
  pushToGateway: ({ port, stream }) => opened.get(port).log.push(stream),
  stateOfGateway: ({ port }) => {
    const { asked, answers, refused } = opened.get(port).log;
    return { asked, answers, refused };
  },
  closeGateway: async ({ port }) => {
    const { app } = opened.get(port);
    opened.delete(port);
    await app.close();
  },
};
