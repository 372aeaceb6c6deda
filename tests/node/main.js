// One process for many tests. It reads a request a line, {"id", "do", "arguments"}, and answers {"id", "result"} or
// {"id", "error"} when it is done: requests overlap, so one that waits holds up no other.
"use strict";

const readline = require("node:readline");

const commands = {
  ...require("./gateways"),
  ...require("./readers"),
  ...require("./bodies"),
  ...require("./example"),
};

const answer = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, do: name, arguments: given } = JSON.parse(line);
  try {
    answer({ id, result: (await commands[name](given)) ?? null });
  } catch (error) {
    answer({ id, error: String(error.stack ?? error) });
  }
}).on("close", () => process.exit(0));
