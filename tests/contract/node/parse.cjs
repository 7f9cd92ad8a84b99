// Reads an AsyncAPI document with the reference parser and prints its errors and contents as JSON.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

async function main() {
  const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
  const told = ({ severity, path, message }) => ({ severity, path: path.join("."), message });
  console.log(
    JSON.stringify({
      errors: diagnostics.filter(({ severity }) => severity === 0).map(told),
      warnings: diagnostics.filter(({ severity }) => severity === 1).map(told),
      messages: document ? document.messages().all().map((message) => message.id()) : [],
      channels: document ? document.channels().all().map((channel) => channel.address()) : [],
    }),
  );
}

main();
