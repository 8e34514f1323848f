// Generates types of the websocket's messages: `node events.mjs asyncapi.json events.ts`, or a directory for Python.
import { readFileSync, writeFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import modelina from "@asyncapi/modelina";

const [source, target] = process.argv.slice(2);
const { document } = await new Parser().parse(readFileSync(source, "utf8"));
if (target.endsWith(".ts")) {
  const options = { modelType: "interface", rawPropertyNames: true, mapType: "record" };
  const models = await new modelina.TypeScriptGenerator(options).generate(document);
  writeFileSync(target, models.map((model) => `export ${model.result}`).join("\n"));
} else {
  const generator = new modelina.PythonFileGenerator({ presets: [modelina.PYTHON_PYDANTIC_PRESET], importsStyle: "implicit" });
  await generator.generateToFiles(document, target, {});
}
