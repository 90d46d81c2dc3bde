// JSON Schema, as people read it, and values that it allows.

import { element } from "./dom.js";

const DEEP = 4; // members of members that are shown
const LONG = 40; // characters of a pattern that helps nobody
const FORMATS = {
  date: "2026-11-26",
  "date-time": "2026-11-26T12:00:00Z",
  uuid: "123e4567-e89b-12d3-a456-426614174000",
};

/** What a reference leads to, within the document; anything else as it is. */
export function resolved(document, value) {
  if (!value?.$ref) return value ?? {};
  return value.$ref.slice(2).split("/").reduce((at, name) => at[name], document);
}

/** The types that a schema names, but for null. */
export function types(schema) {
  return [schema.type ?? []].flat().filter((type) => type !== "null");
}

/** A schema in a few words. */
export function inWords(document, given) {
  const schema = resolved(document, given);
  const choices = schema.oneOf ?? schema.anyOf;
  const words = [];
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) words.push(`one of ${schema.enum.join(", ")}`);
  else if (types(schema).length) words.push(types(schema).join(" or "));
  else if (choices) return choices.map((choice) => inWords(document, choice)).join(" or ");
  else words.push([schema.type ?? "any value"].flat().join(" or "));
  if (schema.items) words.push(`of ${inWords(document, schema.items)}`);
  if (schema.format) words.push(schema.format);
  words.push(...bounds(schema));
  if (schema.default !== undefined) words.push(`${JSON.stringify(schema.default)} unless given`);
  if ([schema.type].flat().includes("null") && types(schema).length) words.push("or null");
  return words.join(", ").replace(/, (of|or null)/g, " $1");
}

function bounds({ minimum, maximum, minLength, maxLength, pattern }) {
  const words = [];
  if (minimum !== undefined && maximum !== undefined) words.push(`${minimum} to ${maximum}`);
  else if (minimum !== undefined) words.push(`from ${minimum}`);
  else if (maximum !== undefined) words.push(`up to ${maximum}`);
  if (minLength !== undefined) words.push(`${minLength} characters at least`);
  if (maxLength !== undefined) words.push(`${maxLength} characters at most`);
  if (pattern?.length < LONG) words.push(`as ${pattern}`);
  return words;
}

/** A schema as an element: in words, and below its members those of objects. */
export function drawn(document, given, depth = 0) {
  const schema = resolved(document, given);
  const inner = schema.items ? resolved(document, schema.items) : schema;
  const made = element("span", {}, inWords(document, schema));
  const members = Object.entries(inner.properties ?? {});
  if (!members.length || depth >= DEEP) return made;
  const list = members.map(([name, each]) => {
    const needed = inner.required?.includes(name) ? "" : " (may be missing)";
    return element("li", {}, element("code", {}, name), `${needed}: `, drawn(document, each, depth + 1));
  });
  return element("div", {}, made, element("ul", { class: "members" }, ...list));
}

/** A value that a schema allows, as simple as it can be. */
export function sample(document, given) {
  const schema = resolved(document, given);
  for (const value of [schema.const, schema.default, schema.examples?.[0], schema.enum?.[0]]) if (value !== undefined) return value;
  const choice = (schema.oneOf ?? schema.anyOf)?.[0];
  switch (types(schema)[0]) {
    case "object": {
      const all = { ...schema.properties, ...(choice?.properties ?? {}) };
      const needed = [...(schema.required ?? []), ...(choice?.required ?? [])];
      return Object.fromEntries(needed.map((name) => [name, sample(document, all[name])]));
    }
    case "array":
      return [];
    case "integer":
    case "number":
      return Math.max(schema.minimum ?? 0, Math.min(0, schema.maximum ?? 0));
    case "boolean":
      return false;
    case "string":
      return FORMATS[schema.format] ?? "";
    default:
      return choice ? sample(document, choice) : null;
  }
}
