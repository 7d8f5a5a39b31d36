// The settings of a request in its response. The journal stores them with the turn, so every door returns the same ones: as options of the
// turn, or, for fields without an option, in one label beside the metadata of the client.
import type { ModelOptions, ToolSpec } from '@fame-fabric/client';
import type { Settings } from './create-request.ts';
import type { Echo, FunctionTool, TextFormat, ToolChoice } from './resource.ts';
import type { ResponseRef } from './response-ids.ts';

/** The label with the settings that have no option. Clients do not receive it. */
const LABEL = 'fame:request';
const MAX_LABEL_CHARS = 512;
const MAX_LABELS = 16;

/** The content of the label. */
interface Noted {
  /** `previous_response_id` */
  p?: string;
  /** `conversation` */
  c?: string;
  /** Length of `instructions`, which the option with that name begins with. */
  i?: number;
  /** Present for a response with the agent's own steps. */
  s?: 1;
}

export interface Given extends Settings {
  readonly previousId?: string | undefined;
  /** The id that the client gave. */
  readonly conversation?: string | undefined;
  /** The system message of the turn, if it differs from that of the conversation. It begins with `instructions`. */
  readonly systemMessage?: string | undefined;
}

/** Options of the turn, out of those that the agent takes. Labels are left out where they do not fit. */
export function turnOptions(given: Given, takes: (option: string) => boolean): ModelOptions | undefined {
  const { options, metadata, systemMessage, previousId, conversation, instructions, hasSteps } = given;
  const noted: Noted = {
    ...(previousId === undefined ? {} : { p: previousId }),
    ...(conversation === undefined ? {} : { c: conversation }),
    ...(instructions === undefined ? {} : { i: instructions.length }),
    ...(hasSteps ? { s: 1 as const } : {}),
  };
  const label = JSON.stringify(noted);
  const isNoted =
    label !== '{}' && label.length <= MAX_LABEL_CHARS && Object.keys(metadata).length < MAX_LABELS;
  const labels = isNoted ? { ...metadata, [LABEL]: label } : metadata;
  const all: ModelOptions = {
    ...options,
    ...(systemMessage === undefined ? {} : { instructions: systemMessage }),
    ...(Object.keys(labels).length > 0 && takes('metadata') ? { metadata: labels } : {}),
  };
  return Object.keys(all).length > 0 ? all : undefined;
}

/** Reads the settings of a response from the options of its turn. */
export function echoOf(
  options: ModelOptions = {},
  ref: Pick<ResponseRef, 'isStored' | 'isBackground'>,
): Echo {
  const { [LABEL]: label, ...metadata } = options.metadata ?? {};
  const { p: previousId, c: conversation, i: length } = notedIn(label);
  return {
    previous_response_id: previousId ?? null,
    instructions: length === undefined ? null : (options.instructions ?? '').slice(0, length),
    tools: (options.tools ?? []).map(toolOf),
    tool_choice: choiceOf(options.tool_choice),
    truncation: options.truncation ?? 'auto',
    text: { format: formatOf(options.response_format) },
    temperature: options.temperature ?? 1,
    max_output_tokens: options.max_tokens ?? null,
    store: ref.isStored,
    background: ref.isBackground,
    metadata,
    conversation: conversation === undefined ? null : { id: conversation },
  };
}

/** True if the response of a turn has the steps of the agent as items. */
export const hasStepsOf = (options: ModelOptions = {}): boolean => notedIn(options.metadata?.[LABEL]).s === 1;

function notedIn(label: string | undefined): Noted {
  if (label === undefined) return {};
  try {
    const { p, c, i, s } = JSON.parse(label) as Record<string, unknown>;
    return {
      ...(typeof p === 'string' ? { p } : {}),
      ...(typeof c === 'string' ? { c } : {}),
      ...(typeof i === 'number' ? { i } : {}),
      ...(s === 1 ? { s } : {}),
    };
  } catch {
    // A caller of another door may use the label for something else.
    return {};
  }
}

const toolOf = ({ type, function: { name, description, parameters, ...more } }: ToolSpec): FunctionTool => {
  const { strict } = more as { strict?: boolean | null };
  return { type, name, description: description ?? null, parameters, strict: strict ?? null };
};

const choiceOf = (choice: ModelOptions['tool_choice'] = 'auto'): ToolChoice =>
  typeof choice === 'string' ? choice : { type: 'function', name: choice.function.name };

function formatOf(format: ModelOptions['response_format']): TextFormat {
  const { type, json_schema: given } = (format ?? {}) as {
    type?: string;
    json_schema?: Record<string, unknown>;
  };
  if (type === 'json_object') return { type };
  if (type !== 'json_schema' || !given) return { type: 'text' };
  return {
    type,
    name: String(given.name),
    description: typeof given.description === 'string' ? given.description : null,
    schema: (given.schema as Readonly<Record<string, unknown>> | undefined) ?? null,
    strict: given.strict === true,
  };
}
