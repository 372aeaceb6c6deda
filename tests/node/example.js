// Runs the example of a page as it stands there, with the three functions that its reader has to bring.
"use strict";

const client = require("socket.io-client");

let running = null;

function runExample({ code, key, after }) {
  const sockets = [];
  running = { saved: [], said: [], sockets };
  const { saved, said } = running;
  const io = (...given) => {
    sockets.push(client.io(...given));
    return sockets.at(-1);
  };
  const names = { require: () => ({ io }) };
  names.loadNumber = () => after;
  names.save = (type, fields, number) => saved.push([type, fields, number]);
  names.process = { env: { KEY: key } };
  names.console = { error: (...words) => said.push(words) };
  new Function(...Object.keys(names), code)(...Object.values(names));
}

module.exports = {
  runExample,
  stateOfExample: () => ({ saved: running.saved, said: running.said }),
  cutExample: () => running.sockets.forEach((socket) => socket.io.engine.close()),
  endExample: () => running.sockets.forEach((socket) => socket.disconnect()),
};
