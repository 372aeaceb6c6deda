// Encrypted bodies with Node's own `crypto`: the main backend's door, which decrypts them, and a sender's side.
"use strict";

const crypto = require("node:crypto");
const http = require("node:http");

const OAEP = { padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
const doors = new Map();

function unseal(privateKey, sealed) {
  const [key, iv, data] = ["key", "iv", "data"].map((name) => Buffer.from(sealed[name], "base64"));
  const decipher = crypto.createDecipheriv("aes-256-cbc", crypto.privateDecrypt({ key: privateKey, ...OAEP }, key), iv);
  return Buffer.concat([decipher.update(data), decipher.final()]).toString("utf8");
}

function seal(publicKey, plain) {
  const [key, iv] = [crypto.randomBytes(32), crypto.randomBytes(16)];
  const cipher = crypto.createCipheriv("aes-256-cbc", key, iv);
  const data = Buffer.concat([cipher.update(plain, "utf8"), cipher.final()]);
  const parts = { key: crypto.publicEncrypt({ key: publicKey, ...OAEP }, key), iv, data };
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, part.toString("base64")]));
}

async function openDoor({ privateKey }) {
  const taken = [];
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    try {
      taken.push([request.url, JSON.parse(unseal(privateKey, JSON.parse(Buffer.concat(parts))))]);
    } catch (error) {
      response.writeHead(422).end(String(error));
      return;
    }
    response.writeHead(201, { "Content-Type": "application/json" });
    response.end(request.url === "/queue/building" ? "" : '{"message":"SUCCESS"}'); // as the real one does
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  doors.set(port, { server, taken });
  return port;
}

module.exports = {
  openDoor,
  closeDoor: ({ port }) => {
    const { server, taken } = doors.get(port);
    doors.delete(port);
    server.close();
    server.closeAllConnections();
    return taken;
  },
  seal: ({ publicKey, plain }) => seal(publicKey, plain),
};
