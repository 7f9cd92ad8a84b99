// Reads all topics as an outsider does and says, as JSON, what does not hold on them. It shares no code with the
// services: Kafka by kafkajs, JSON Schemas by ajv, and the rules as docs/PUBLISHING.md tells them.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import kafkajs from "kafkajs";

const EXTERNAL = { "billing.requests.v1": "/upstream/", "billing.confirmations.v1": "/gateway/" };
const OWN = {
  "billing.orders.v1": "/billing/orders",
  "billing.ledger.v1": "/billing/ledger",
  "billing.notifications.v1": "/billing/notifier",
};
const TABLES = ["billing.catalogue.v1"];
const ENDS = {
  renewal_id: ["RenewalRejected", "OrderExpired", "PaymentFailed", "PlanActivated", "RefundCompleted"],
  topup_id: ["TopUpRejected", "OrderExpired", "PaymentFailed", "WalletToppedUp"],
};
const BEGINS = { RenewalAccepted: "renewal_id", TopUpAccepted: "topup_id", RenewalRejected: "renewal_id", TopUpRejected: "topup_id" };

const problems = { schema: [], sequence: [], event_ids: [], terminal_events: [], sums: [] };
const place = (record) => `${record.topic}/${record.partition}@${record.offset}`;
const nameOf = (type) => type.split(".")[1];

async function readAll(kafka, topics) {
  const admin = kafka.admin();
  await admin.connect();
  const left = new Map();
  for (const topic of topics) {
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
      if (BigInt(high) > BigInt(low)) left.set(`${topic}/${partition}`, BigInt(high));
    }
  }
  const records = [];
  const consumer = kafka.consumer({ groupId: `checker-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  await new Promise((resolve, reject) => {
    if (left.size === 0) return resolve();
    const eachMessage = async ({ topic, partition, message }) => {
      const { key, value, headers, offset } = message;
      records.push({ topic, partition, offset, key: key?.toString(), value, headers: headers ?? {} });
      if (BigInt(offset) + 1n >= (left.get(`${topic}/${partition}`) ?? 0n)) left.delete(`${topic}/${partition}`);
      if (left.size === 0) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
    setTimeout(() => reject(new Error(`not read to the end: ${[...left.keys()]}`)), 60_000);
  });
  await admin.disconnect();
  return records.sort((a, b) => (a.topic === b.topic ? Number(BigInt(a.offset) - BigInt(b.offset)) : a.topic < b.topic ? -1 : 1));
}

function validators(folder, options) {
  const ajv = addFormats.default(new Ajv2020({ strictTypes: false, strictRequired: false, ...options }));
  const found = new Map();
  for (const file of readdirSync(folder)) {
    const check = ajv.compile(JSON.parse(readFileSync(join(folder, file), "utf8")));
    found.set(`billing.${file.replace(/\.json$/, "")}`, check);
  }
  return found;
}

function read(record) {
  const { headers } = record;
  if (String(headers["content-type"]).startsWith("application/cloudevents+json")) {
    const { type, data, data_base64: coded } = JSON.parse(record.value);
    return { type, data: data ?? JSON.parse(Buffer.from(coded, "base64")) };
  }
  return { type: String(headers.ce_type), data: JSON.parse(record.value) };
}

function checkExternal(record, checks, deadLetters) {
  let valid = false;
  try {
    const { type, data } = read(record);
    valid = checks.get(type)?.(data) ?? false;
  } catch {}
  if (!valid && !deadLetters.has(place(record))) problems.schema.push(`${place(record)} is not valid, and no dead letter`);
}

function checkOwn(record, checks) {
  const header = (name) => String(record.headers[`ce_${name}`]);
  const check = checks.get(header("type"));
  record.name = nameOf(header("type"));
  record.source = header("source");
  record.id = header("id");
  record.order = header("correlationid");
  record.sequence = header("sequence");
  record.data = JSON.parse(record.value);
  if (!check?.(record.data)) {
    const where = (check?.errors ?? []).map(({ instancePath, keyword }) => `${instancePath} ${keyword}`);
    problems.schema.push(`${place(record)} ${record.name}: ${where.join(", ") || "no schema"}`);
  }
  const keys = new Set([record.key, header("partitionkey"), record.data.account_id]);
  if (keys.size !== 1) problems.schema.push(`${place(record)}: key, partitionkey and account_id differ`);
  if (header("specversion") !== "1.0" || record.source !== OWN[record.topic]) problems.schema.push(`${place(record)}: specversion or source`);
}

function checkSequences(records) {
  const last = new Map();
  for (const record of records) {
    const log = `${record.source} ${record.partition}`;
    const expected = (last.get(log) ?? 0n) + 1n;
    if (!/^\d{20}$/.test(record.sequence) || BigInt(record.sequence) !== expected) {
      problems.sequence.push(`${place(record)}: ${record.sequence} where ${expected} comes next`);
    }
    last.set(log, BigInt(record.sequence));
  }
}

function checkIds(records) {
  const seen = new Map();
  for (const record of records) {
    const id = `${record.source} ${record.id}`;
    if (seen.has(id)) problems.event_ids.push(`${place(record)} has the id of ${seen.get(id)}`);
    seen.set(id, place(record));
  }
}

function checkEnds(records) {
  const orders = new Map(); // the id of an order: its kind, and the events that ended it
  for (const { name, order, data } of records) {
    const kind = BEGINS[name];
    if (kind && data[kind] === order && !orders.has(order)) orders.set(order, { kind, ends: [] });
    const known = orders.get(order);
    if (known && ENDS[known.kind].includes(name)) known.ends.push(name);
  }
  for (const [order, { ends }] of orders) {
    if (ends.length !== 1) problems.terminal_events.push(`${order} ended with ${ends.join(", ") || "nothing"}`);
  }
  return orders.size;
}

function checkSums(record) {
  const { name, data } = record;
  const adds = (total, ...parts) => {
    const sum = parts.reduce((all, part) => all + part.amount_minor, 0);
    const currencies = new Set([total, ...parts].map(({ currency }) => currency));
    if (sum !== total.amount_minor || currencies.size !== 1) problems.sums.push(`${place(record)} ${name}`);
  };
  if (name === "RenewalAccepted") {
    const { list_price: list, discount, net, tax, total } = data.quote;
    adds(list, net, discount);
    adds(total, net, tax);
  }
  if (name === "PlanActivated") adds(data.total, data.price, data.tax);
  if (name === "PaymentCaptured" || name === "WalletCharged") {
    const { net, tax, bonus } = data.consideration;
    adds(data.amount, net, tax, bonus);
  }
  if (name === "WalletCharged") adds(data.amount, ...data.takes.map(({ amount }) => amount));
}

const [folder] = process.argv.slice(2);
const kafka = new kafkajs.Kafka({ brokers: process.env.BOOTSTRAP_SERVERS.split(","), logLevel: kafkajs.logLevel.ERROR });
const letters = Object.keys(EXTERNAL).flatMap((topic) => [`${topic}.orders.dlq`, ...(topic.includes("requests") ? [`${topic}.notifier.dlq`] : [])]);
const records = await readAll(kafka, [...Object.keys(EXTERNAL), ...Object.keys(OWN), ...TABLES, ...letters]);
const strict = validators(folder, {});
const tolerant = validators(folder, { removeAdditional: true });
const original = ({ headers }) => `${headers["dlq-original-topic"]}/${headers["dlq-original-partition"]}@${headers["dlq-original-offset"]}`;
const deadLetters = new Set(records.filter(({ topic }) => letters.includes(topic)).map(original));
for (const record of records) {
  if (record.topic in EXTERNAL) checkExternal(record, tolerant, deadLetters);
  if (record.topic in OWN) checkOwn(record, strict);
  if (TABLES.includes(record.topic) && record.value && !strict.get(String(record.headers.ce_type))?.(JSON.parse(record.value))) {
    problems.schema.push(place(record));
  }
}
const own = records.filter(({ topic }) => topic in OWN);
checkSequences(own);
checkIds(own);
const orders = checkEnds(own.filter(({ topic }) => topic === "billing.orders.v1"));
own.forEach(checkSums);
const held = Object.fromEntries([...Object.keys(EXTERNAL), ...Object.keys(OWN), ...TABLES].map((topic) => [topic, records.filter((one) => one.topic === topic).length]));
console.log(JSON.stringify({ records: held, dead_letters: deadLetters.size, orders, problems }));
process.exit(0);
