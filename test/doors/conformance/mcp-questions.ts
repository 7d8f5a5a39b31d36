// Operations that ask the client: its user with a form, its model, or its roots. They declare the parameter `_mcp`, in which the door passes
// the responses and the state of the call.
import { createHmac, randomBytes } from 'node:crypto';
import { type Operation, operation } from '@fame-fabric/agents';
import { FabricError } from '@fame-fabric/shared';
import { z } from 'zod';

const side = z
  .looseObject({
    capabilities: z.looseObject({ elicitation: z.unknown().optional(), sampling: z.unknown().optional() }),
    inputResponses: z.record(z.string(), z.unknown()).optional(),
    requestState: z.string().optional(),
  })
  .optional();

type Side = NonNullable<z.output<typeof side>>;
type Questions = Readonly<Record<string, object>>;

const form = (
  message: string,
  properties: object,
  required: readonly string[] = Object.keys(properties),
) => ({
  method: 'elicitation/create',
  params: { mode: 'form', message, requestedSchema: { type: 'object', properties, required } },
});
const nameForm = (message = 'What is your name?') => form(message, { name: { type: 'string' } });
const modelRequest = (text: string, maxTokens = 100) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens },
});
const ROOTS = { method: 'roots/list', params: {} };

const ask = (inputRequests: Questions, requestState?: string) => ({
  resultType: 'input_required',
  inputRequests,
  ...(requestState === undefined ? {} : { requestState }),
});

const KEY = randomBytes(32);
const seal = (text: string): string =>
  `${text}.${createHmac('sha256', KEY).update(text).digest('base64url')}`;
function unseal(state: string): string {
  const text = state.slice(0, state.lastIndexOf('.'));
  if (seal(text) !== state) throw new FabricError('PARAMS_INVALID', 'The state was changed on its way');
  return text;
}

/** Asks until each question has a response, and then returns the responses as text. */
const asking = (questions: Questions | ((given: Side) => Questions), hasState = false): Operation =>
  operation({
    params: z.object({ _mcp: side }),
    run({ _mcp = { capabilities: { elicitation: undefined, sampling: undefined } } }) {
      if (_mcp.requestState !== undefined) unseal(_mcp.requestState);
      const asked = typeof questions === 'function' ? questions(_mcp) : questions;
      const { inputResponses = {} } = _mcp;
      const open = Object.entries(asked).filter(([key]) => !Object.hasOwn(inputResponses, key));
      if (open.length > 0) return ask(Object.fromEntries(open), hasState ? seal('asked') : undefined);
      return `${hasState ? 'state-ok ' : ''}${JSON.stringify(inputResponses)}`;
    },
  }) as Operation;

const multiRound = operation({
  params: z.object({ _mcp: side }),
  run({ _mcp }) {
    const round = _mcp?.requestState === undefined ? 0 : Number(unseal(_mcp.requestState));
    if (round === 0) return ask({ step1: nameForm('Step 1: What is your name?') }, seal('1'));
    if (round === 1) {
      const color = form('Step 2: What is your favorite color?', { color: { type: 'string' } });
      return ask({ step2: color }, seal('2'));
    }
    return JSON.stringify(_mcp?.inputResponses);
  },
});

const options = (...values: string[]) =>
  values.map((value, i) => ({ const: value, title: `Option ${i + 1}` }));

export const questions: Record<string, Operation> = {
  input_required_result_elicitation: asking({ user_name: nameForm() }),
  input_required_result_sampling: asking({
    capital_question: modelRequest('What is the capital of France?'),
  }),
  input_required_result_list_roots: asking({ client_roots: ROOTS }),
  input_required_result_request_state: asking(
    { confirm: form('Please confirm', { ok: { type: 'boolean' } }) },
    true,
  ),
  input_required_result_multiple_inputs: asking(
    { user_name: nameForm(), greeting: modelRequest('Generate a greeting', 50), client_roots: ROOTS },
    true,
  ),
  input_required_result_multi_round: multiRound as Operation,
  input_required_result_tampered_state: asking(
    { confirm: form('Please confirm', { ok: { type: 'boolean' } }) },
    true,
  ),
  input_required_result_capabilities: asking(({ capabilities }) => ({
    ...(capabilities.elicitation === undefined ? {} : { user_name: nameForm() }),
    ...(capabilities.sampling === undefined ? {} : { greeting: modelRequest('Generate a greeting') }),
  })),
  missing_capability: asking({ greeting: modelRequest('Generate a greeting') }),
  streaming_elicitation: asking({ user_name: nameForm() }),
  sampling: operation({
    params: z.object({ prompt: z.string(), _mcp: side }),
    run: ({ prompt, _mcp }) =>
      _mcp?.inputResponses
        ? `LLM response: ${JSON.stringify(_mcp.inputResponses)}`
        : ask({ answer: modelRequest(prompt) }),
  }) as Operation,
  elicitation: operation({
    params: z.object({ message: z.string(), _mcp: side }),
    run: ({ message, _mcp }) =>
      _mcp?.inputResponses
        ? `User response: ${JSON.stringify(_mcp.inputResponses)}`
        : ask({ answer: form(message, { username: { type: 'string' }, email: { type: 'string' } }) }),
  }) as Operation,
  elicitation_sep1034_defaults: asking({
    answer: form(
      'Please review',
      {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      },
      [],
    ),
  }),
  elicitation_sep1330_enums: asking({
    answer: form('Please choose', {
      untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
      titledSingle: { type: 'string', oneOf: options('value1', 'value2', 'value3') },
      legacyEnum: {
        type: 'string',
        enum: ['opt1', 'opt2', 'opt3'],
        enumNames: ['Option One', 'Option Two', 'Option Three'],
      },
      untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
      titledMulti: { type: 'array', items: { anyOf: options('value1', 'value2', 'value3') } },
    }),
  }),
};
