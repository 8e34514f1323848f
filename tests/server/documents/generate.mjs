// Parses an AsyncAPI document with AsyncAPI's own parser, and generates TypeScript from it with Modelina.
// Prints what the parser objects to, and the names of the generated types, as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import modelina from "@asyncapi/modelina";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const faults = diagnostics.filter(({ severity }) => severity <= 1).map(({ code, path }) => `${code} ${path.join(".")}`);
const models = document ? await new modelina.TypeScriptGenerator().generate(document) : [];
console.log(JSON.stringify({ faults, names: models.map((model) => model.modelName) }));
