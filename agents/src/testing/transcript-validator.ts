// Validates a Chat Completions request as the strictest servers of this API do: roles that alternate, one result for every tool call
// right after it, arguments that are JSON objects, texts that are not empty, names and types of the API reference. The scripted model
// and the fake server validate every request, so a history that a real provider would refuse fails a test.

export interface Violation {
  /** Such as `messages[3].tool_call_id`. */
  readonly param: string;
  /** One sentence, beginning with the path. */
  readonly message: string;
}

interface CheckOptions {
  /** True if `model` is required, as over HTTP. @default false */
  wire?: boolean | undefined;
}

type Json = Record<string, unknown>;
type Report = (param: string, fault: string) => void;

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_CALL_ID = 40;
const MAX_TOOLS = 128;
const MAX_STOPS = 4;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isJsonObject = (text: string): boolean => {
  try {
    return isObject(JSON.parse(text));
  } catch {
    return false;
  }
};

/** Returns every fault of a request, in the order of its fields; none if the API would accept it. */
export function checkTranscript(request: unknown, options: CheckOptions = {}): Violation[] {
  const found: Violation[] = [];
  const report: Report = (param, fault) => found.push({ param, message: `${param} ${fault}.` });
  if (!isObject(request)) {
    report('body', 'must be a JSON object');
    return found;
  }
  if (options.wire && (typeof request.model !== 'string' || !request.model)) {
    report('model', 'must name a model');
  }
  checkMessages(request.messages, report);
  if (request.tools === undefined && hasCalls(request.messages))
    report('tools', 'must be sent with messages that have calls');
  checkTools(request, report);
  checkNumbers(request, report);
  checkFormat(request.response_format, report);
  checkStop(request.stop, report);
  return found;
}

const hasCalls = (messages: unknown): boolean =>
  Array.isArray(messages) && messages.some((one) => isObject(one) && one.tool_calls !== undefined);

function checkMessages(messages: unknown, report: Report): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    report('messages', 'must be a list of at least one message');
    return;
  }
  // Ids of the last assistant message's calls that have no answer yet; `answered` distinguishes a second answer from one to an unknown call.
  const open = new Map<string, string>();
  const answered = new Set<string>();
  const reportOpenCalls = (): void => {
    for (const [id, place] of open)
      report(place, `calls a tool whose answer is missing (tool_call_id ${id})`);
    open.clear();
  };

  for (const [i, message] of messages.entries()) {
    const at = `messages[${i}]`;
    if (!isObject(message)) {
      report(at, 'must be an object');
      continue;
    }
    const role = message.role;
    if (role === 'tool') {
      checkToolMessage(message, at, open, answered, report);
      continue;
    }
    reportOpenCalls();
    answered.clear();
    const before = messages[i - 1] as unknown;
    if ((role === 'user' || role === 'assistant') && isObject(before) && before.role === role)
      report(`${at}.role`, `is ${role} twice in a row`);
    if (role === 'assistant') checkAssistant(message, at, open, report);
    else if (role === 'system' || role === 'developer' || role === 'user') {
      checkContent(message.content, `${at}.content`, report);
      if (message.tool_calls !== undefined) report(`${at}.tool_calls`, 'belongs to assistant messages only');
    } else report(`${at}.role`, 'must be one of system, developer, user, assistant, tool');
    if (message.tool_call_id !== undefined) report(`${at}.tool_call_id`, 'belongs to tool messages only');
    checkName(message.name, `${at}.name`, report);
  }
  reportOpenCalls();
}

function checkToolMessage(
  message: Json,
  at: string,
  open: Map<string, string>,
  answered: Set<string>,
  report: Report,
): void {
  const id = message.tool_call_id;
  checkContent(message.content, `${at}.content`, report);
  if (typeof id !== 'string' || !id) report(`${at}.tool_call_id`, 'must be the id of a tool call');
  else if (answered.has(id)) report(`${at}.tool_call_id`, `answers ${id} a second time`);
  else if (!open.delete(id))
    report(`${at}.tool_call_id`, `answers ${id}, which the preceding assistant message did not call`);
  else answered.add(id);
}

function checkAssistant(message: Json, at: string, open: Map<string, string>, report: Report): void {
  const { content, tool_calls: calls } = message;
  if (message.provider !== undefined) report(`${at}.provider`, 'is not a field of the API');
  if (calls === undefined) {
    if (content === null || content === undefined) report(at, 'must have content or tool_calls');
    else checkContent(content, `${at}.content`, report);
    return;
  }
  if (content !== null && content !== undefined) checkContent(content, `${at}.content`, report);
  if (!Array.isArray(calls) || calls.length === 0) {
    report(`${at}.tool_calls`, 'must be a list of at least one call, or be left out');
    return;
  }
  for (const [i, call] of calls.entries()) {
    const place = `${at}.tool_calls[${i}]`;
    if (!isObject(call)) {
      report(place, 'must be an object');
      continue;
    }
    const { id, type, function: fn } = call;
    if (type !== 'function') report(`${place}.type`, 'must be function');
    if (typeof id !== 'string' || !id || id.length > MAX_CALL_ID) {
      report(`${place}.id`, `must be a text of 1 to ${MAX_CALL_ID} characters`);
    } else if (open.has(id)) report(`${place}.id`, `is used twice (${id})`);
    if (typeof id === 'string' && !open.has(id)) open.set(id, place);
    if (!isObject(fn)) {
      report(`${place}.function`, 'must be an object');
      continue;
    }
    checkName(fn.name ?? null, `${place}.function.name`, report);
    const text = fn.arguments;
    if (typeof text !== 'string') report(`${place}.function.arguments`, 'must be JSON as a text');
    else if (!isJsonObject(text)) report(`${place}.function.arguments`, 'is not a JSON object');
  }
}

/** Checks a content: a string, or a list of typed parts. */
function checkContent(content: unknown, at: string, report: Report): void {
  if (typeof content === 'string') {
    if (content.trim() === '') report(at, 'must not be empty');
    else if (!content.isWellFormed()) report(at, 'has half of a surrogate pair');
    return;
  }
  if (!Array.isArray(content) || content.length === 0) {
    report(at, 'must be a text or a list of parts');
    return;
  }
  for (const [i, part] of content.entries()) {
    if (!isObject(part) || typeof part.type !== 'string') report(`${at}[${i}]`, 'must be a part with a type');
    else if (part.type === 'text' && typeof part.text !== 'string')
      report(`${at}[${i}].text`, 'must be a text');
  }
}

function checkName(name: unknown, at: string, report: Report): void {
  if (name === undefined) return;
  if (typeof name !== 'string' || !NAME.test(name)) report(at, 'must match ^[A-Za-z0-9_-]{1,64}$');
}

function checkTools(request: Json, report: Report): void {
  const { tools, tool_choice: choice } = request;
  if (tools === undefined) {
    if (choice !== undefined && choice !== 'none')
      report('tool_choice', 'is only allowed together with tools');
    return;
  }
  if (!Array.isArray(tools) || tools.length === 0 || tools.length > MAX_TOOLS) {
    report('tools', `must be a list of 1 to ${MAX_TOOLS} tools, or be left out`);
    return;
  }
  const names = new Set<unknown>();
  for (const [i, tool] of tools.entries()) {
    const at = `tools[${i}]`;
    const fn = isObject(tool) ? tool.function : undefined;
    if (!isObject(tool) || tool.type !== 'function' || !isObject(fn)) {
      report(at, 'must be {type: "function", function: {...}}');
      continue;
    }
    checkName(fn.name ?? null, `${at}.function.name`, report);
    if (names.has(fn.name)) report(`${at}.function.name`, `is used twice (${String(fn.name)})`);
    names.add(fn.name);
    if (fn.description !== undefined && typeof fn.description !== 'string') {
      report(`${at}.function.description`, 'must be a text');
    }
    if (fn.parameters !== undefined) checkParameters(fn.parameters, `${at}.function.parameters`, report);
  }
  checkChoice(choice, names, report);
}

function checkParameters(schema: unknown, at: string, report: Report): void {
  if (!isObject(schema) || schema.type !== 'object') {
    report(at, 'must be a JSON Schema of type object');
    return;
  }
  const { properties, required } = schema;
  if (properties !== undefined && !isObject(properties)) report(`${at}.properties`, 'must be an object');
  else {
    for (const [key, value] of Object.entries(properties ?? {})) {
      if (!isObject(value) && typeof value !== 'boolean')
        report(`${at}.properties.${key}`, 'must be a schema');
      else if (isObject(value) && value.type === 'array' && value.items === undefined) {
        report(`${at}.properties.${key}`, 'is an array without items');
      }
    }
  }
  if (
    required !== undefined &&
    !(Array.isArray(required) && required.every((key) => typeof key === 'string'))
  ) {
    report(`${at}.required`, 'must be a list of names');
  }
}

function checkChoice(choice: unknown, names: ReadonlySet<unknown>, report: Report): void {
  if (choice === undefined || choice === 'none' || choice === 'auto' || choice === 'required') return;
  const fn = isObject(choice) && choice.type === 'function' ? choice.function : undefined;
  if (!isObject(fn) || typeof fn.name !== 'string') {
    report('tool_choice', 'must be none, auto, required or {type: "function", function: {name}}');
  } else if (!names.has(fn.name)) report('tool_choice', `names ${fn.name}, which is not among the tools`);
}

function checkNumbers(request: Json, report: Report): void {
  const { temperature, max_tokens: maxTokens, stream, stream_options: streamOptions } = request;
  if (temperature !== undefined && temperature !== null) {
    if (typeof temperature !== 'number' || temperature < 0 || temperature > 2) {
      report('temperature', 'must be a number from 0 to 2');
    }
  }
  if (maxTokens !== undefined && maxTokens !== null) {
    if (!Number.isInteger(maxTokens) || (maxTokens as number) < 1)
      report('max_tokens', 'must be a whole number from 1');
  }
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean')
    report('stream', 'must be true or false');
  if (streamOptions !== undefined && streamOptions !== null && stream !== true) {
    report('stream_options', 'is only allowed when stream is true');
  }
}

function checkFormat(format: unknown, report: Report): void {
  if (format === undefined || format === null) return;
  const type = isObject(format) ? format.type : undefined;
  if (!isObject(format) || !['text', 'json_object', 'json_schema'].includes(String(type))) {
    report('response_format.type', 'must be text, json_object or json_schema');
    return;
  }
  if (type !== 'json_schema') return;
  const schema = format.json_schema;
  if (!isObject(schema)) report('response_format.json_schema', 'must be an object');
  else {
    checkName(schema.name ?? null, 'response_format.json_schema.name', report);
    if (schema.schema !== undefined && !isObject(schema.schema))
      report('response_format.json_schema.schema', 'must be a JSON Schema');
  }
}

function checkStop(stop: unknown, report: Report): void {
  if (stop === undefined || stop === null || typeof stop === 'string') return;
  const isValid =
    Array.isArray(stop) &&
    stop.length >= 1 &&
    stop.length <= MAX_STOPS &&
    stop.every((one) => typeof one === 'string');
  if (!isValid) report('stop', `must be a text or a list of 1 to ${MAX_STOPS} texts`);
}
