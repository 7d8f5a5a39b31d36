// Chooses the tool calls of the offline model. A tool is called when its name, description or enums match a request, and its
// parameters can be filled. `describe-results.ts` describes the results.
import type { ModelRequest, ToolSpec } from '../model.ts';
import { bestOption, isYes } from './classify.ts';
import type { Conversation } from './conversation.ts';
import { type FillContext, fillArguments, placesIn, type Value } from './fill.ts';
import { askedCount } from './requirements.ts';
import { findSum } from './sums.ts';
import { overlap, wordsOf } from './words.ts';

export interface PlannedCall {
  readonly name: string;
  readonly args: { [key: string]: Value };
}

interface ToolPlan {
  readonly calls: readonly PlannedCall[];
  /** The clauses that no tool answers. */
  readonly rest: readonly string[];
  /** Asks for the missing parameters of a call. */
  readonly question?: string | undefined;
}

type Properties = Record<string, { enum?: unknown; type?: unknown; description?: unknown }>;
const propertiesOf = (tool: ToolSpec): Properties =>
  (tool.function.parameters?.properties ?? {}) as Properties;

const CALCULATOR = /calc|math|arithm|evaluate|compute/i;
const OPERATION: readonly (readonly [RegExp, RegExp])[] = [
  [/^(?:add|sum|plus)/i, /\+|\bplus\b|\badd\b|\bsum\b/i],
  [/^(?:subtract|minus)/i, /-|\bminus\b|\bsubtract\b/i],
  [/^multipl/i, /\*|×|\btimes\b|\bmultipl/i],
  [/^divide/i, /\/|÷|\bdivided\b|\bdivide\b/i],
];

const TEXT = /story|stories|\btales?\b|poem|\bverse|\brhyme|joke/i;

// Words of names and descriptions that do not characterize a tool.
const ANYWHERE = /\b(?:current|given|new|return|value|name|number|text|list)s?\b/gi;

// Minimum score that calls a tool, and the score of a tool that the clause names.
const MIN_SCORE = 3;
const NAMED_SCORE = 20;

/** Scores the fit of a tool for a clause. */
function fitness(tool: ToolSpec, clause: string): number {
  const { name, description = '' } = tool.function;
  if (new RegExp(`\\b${name.replace(/[^\w]/g, '.')}\\b`, 'i').test(clause) && /_|\d/.test(name)) {
    return NAMED_SCORE;
  }
  const sum = findSum(clause);
  const operation = OPERATION.find(([pattern]) => pattern.test(name));
  if (operation) return operation[1].test(clause) && /\d/.test(clause) ? 10 : 0;
  if (CALCULATOR.test(name)) return sum !== undefined ? 12 : 0;
  if (sum !== undefined) return 0;

  // Stories and poems are written without a tool, unless one exists for them.
  if (TEXT.test(clause) && !TEXT.test(`${name} ${description}`)) return 0;

  const said = wordsOf(clause);
  let score = overlap(said, wordsOf(name.replaceAll('_', ' ').replace(ANYWHERE, '')));
  score += Math.min(2, overlap(said, wordsOf(description.replace(ANYWHERE, ''))) / 3);
  for (const [key, schema] of Object.entries(propertiesOf(tool))) {
    if (key === 'to_user') continue;
    const options = Array.isArray(schema.enum) ? schema.enum.filter((one) => typeof one === 'string') : [];
    if (options.length > 0 && bestOption(clause, options).score >= 3) score += 3;
  }
  return score;
}

const isRequest = (clause: string): boolean =>
  /\?\s*$/.test(clause) ||
  /^(?:please|can|could|would|what|who|where|when|which|how|is|are|do|does|tell|show|give|get|find|look|search|check|call|use|run|set|add|create|make|send|book|calculate|compute|convert|translate|list|remind|order|cancel|start|stop|open|close|turn|play|read|write|save|weather|forecast|temperature|time|i (?:want|need|would like))\b/i.test(
    clause,
  );

/** Chooses among tools that ask, confirm and finish: the steps of refining a request. */
function refinementStep(tools: readonly ToolSpec[], conversation: Conversation): ToolSpec | undefined {
  const find = (pattern: RegExp): ToolSpec | undefined =>
    tools.find((tool) => pattern.test(tool.function.name));
  const refine = find(/refine|clarify|ask/i);
  const confirm = find(/confirm/i);
  const finish = find(/validate|finish|finali[sz]e|complete|accept/i);
  if (!refine || !(confirm || finish)) return undefined;
  if (isYes(conversation.last) && askedCount(conversation) > 0) return finish ?? confirm;
  return askedCount(conversation) >= 4 ? (confirm ?? finish) : refine;
}

const best = (tools: readonly ToolSpec[], clause: string): { tool: ToolSpec; score: number } | undefined =>
  tools
    .map((tool) => ({ tool, score: fitness(tool, clause) }))
    .reduce<{ tool: ToolSpec; score: number } | undefined>(
      (left, right) => (right.score > (left?.score ?? -1) ? right : left),
      undefined,
    );

/** Plans one call, or one for each place that the clause names. */
function callsOf(
  tool: ToolSpec,
  context: Omit<FillContext, 'tool'>,
): { calls: PlannedCall[]; missing: string[] } {
  const { name, parameters } = tool.function;
  const place = Object.keys(propertiesOf(tool)).some((key) => /location|city|place|town/i.test(key));
  const items = place ? placesIn(context.text) : [];
  const filled = (items.length > 1 ? items : [undefined]).map((item) =>
    fillArguments(parameters, { ...context, tool: name, item }),
  );
  return {
    calls: filled.map(({ args }) => ({ name, args })),
    missing: filled.flatMap(({ missing }) => missing),
  };
}

const ASKING = 'For that I need the ';
const MAX_SUPPLIED = 80;

/** Returns the clauses of the last message. Joins a short answer to our question with the request that it completes. */
function clausesOf(conversation: Conversation): readonly string[] {
  const before = conversation.userTexts.at(-2);
  const asked =
    conversation.assistantTexts.at(-1)?.includes(ASKING) &&
    conversation.last &&
    conversation.last.length <= MAX_SUPPLIED;
  if (!asked || !before || /\?\s*$/.test(conversation.last)) return conversation.lastClauses;
  return [`${before.replace(/[\s?.!]+$/, '')} for ${conversation.last}`];
}

/** Plans the tool calls for the last message. */
export function planTools(request: ModelRequest, conversation: Conversation): ToolPlan {
  const { tools = [], tool_choice: choice = 'auto' } = request;
  const parts = clausesOf(conversation);
  if (tools.length === 0 || choice === 'none') return { calls: [], rest: parts };
  const text = conversation.last || conversation.userTexts.at(-1) || '';

  if (typeof choice === 'object' || choice === 'required') {
    const tool =
      typeof choice === 'object'
        ? tools.find((one) => one.function.name === choice.function.name)
        : (refinementStep(tools, conversation) ?? best(tools, text)?.tool);
    if (!tool) return { calls: [], rest: parts };
    return { calls: callsOf(tool, { conversation, text, forced: true }).calls, rest: [] };
  }
  // Do not repeat a request whose tools have returned.
  const answered = conversation.results.length > 0;
  const step = answered ? undefined : refinementStep(tools, conversation);
  if (step) return { calls: callsOf(step, { conversation, text, forced: true }).calls, rest: [] };

  const calls: PlannedCall[] = [];
  const rest: string[] = [];
  let question: string | undefined;
  for (const clause of parts) {
    const choice = best(tools, clause);
    const isClear = choice && (isRequest(clause) || isRouter(tools) || choice.score >= NAMED_SCORE);
    if (!isClear || choice.score < MIN_SCORE) rest.push(clause);
    else if (!answered) {
      const planned = callsOf(choice.tool, { conversation, text: clause, forced: false });
      if (planned.missing.length === 0) calls.push(...planned.calls);
      else
        question ??= `${ASKING}${planned.missing.map((name) => name.replaceAll('_', ' ')).join(' and the ')}. What should I use?`;
    }
  }
  return { calls, rest, question: calls.length === 0 ? question : undefined };
}

/** True if the only tool routes messages: it is called for statements too. */
const isRouter = (tools: readonly ToolSpec[]): boolean =>
  tools.length === 1 && Object.values(propertiesOf(tools[0]!)).some((schema) => Array.isArray(schema.enum));
