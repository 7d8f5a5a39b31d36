// The dialogues that the program of the Agere tutorial and ours hold with the same fake model server: the questions of the user,
// the answers of the model as it streams them, and the transcript that a user should see.
import { stripVTControlCharacters } from 'node:util';

/** A choice of one streamed chunk, as OpenAI sends it. */
export interface Choice {
  delta: { content?: string; tool_calls?: object[] };
  finish_reason?: 'stop' | 'tool_calls' | 'length';
}

export interface Dialogue {
  readonly name: string;
  /** Lines that the user types before "exit". */
  readonly questions: readonly string[];
  /** Answers to the requests, in their order. */
  readonly answers: readonly (readonly Choice[])[];
  /** Lines that a user should see, without colors and empty lines. */
  readonly transcript: readonly string[];
  /** True if Agere 0.2.0 gives the same transcript. */
  readonly isSameOnAgere: boolean;
}

/** Lines of the output of a program, without colors and empty lines. */
export const shownLines = (output: string): string[] =>
  stripVTControlCharacters(output)
    // The line about a call may begin before the line of the text has ended, since the two handlers of Agere do not wait.
    .replaceAll('Function call:', '\nFunction call:')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');

const text = (...pieces: string[]): Choice[] => [
  ...pieces.map((content) => ({ delta: { content } })),
  { delta: {}, finish_reason: 'stop' },
];

const opening = (index: number, id: string, name = 'get_current_weather'): Choice => ({
  delta: { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] },
});
const more = (index: number, args: string): Choice => ({
  delta: { tool_calls: [{ index, function: { arguments: args } }] },
});
const END: Choice = { delta: {}, finish_reason: 'tool_calls' };

/** A call whose arguments arrive in these pieces. */
const call = (index: number, id: string, ...pieces: string[]): Choice[] => [
  opening(index, id),
  ...pieces.map((piece) => more(index, piece)),
];

const PARIS = 'Function call: get_current_weather(location=Paris); ID: call_1.';
const ASK = ['YOU:'];
const QUIT = ['YOU:', 'QUIT'];
const round = (...lines: string[]): string[] => ['GPT:', ...lines];
/** The usual dialogue about Paris: a call with these choices, shown with this text, and an answer. */
const paris = (name: string, said: string, choices: readonly Choice[], isSameOnAgere: boolean): Dialogue => ({
  name,
  questions: ['How is the weather in Paris?'],
  answers: [choices, text('It is ', '22 degrees.')],
  transcript: [...ASK, ...round(...(said ? [said] : []), PARIS), ...round('It is 22 degrees.'), ...QUIT],
  isSameOnAgere,
});

export const DIALOGUES: readonly Dialogue[] = [
  {
    name: 'one answer',
    questions: ['Hello'],
    answers: [text('Good ', 'morning', '.')],
    transcript: [...ASK, ...round('Good morning.'), ...QUIT],
    isSameOnAgere: true,
  },
  {
    name: 'two rounds',
    questions: ['Hello', 'And now?'],
    answers: [text('Good morning.'), text('Good ', 'evening.')],
    transcript: [...ASK, ...round('Good morning.'), ...ASK, ...round('Good evening.'), ...QUIT],
    isSameOnAgere: true,
  },
  paris(
    'a call that talks to the user',
    'I look.',
    [
      ...call(0, 'call_1', '{"', 'to_user', '": "', 'I ', 'look.', '", "', 'location', '": "', 'Paris', '"}'),
      END,
    ],
    true,
  ),
  paris(
    'a call without text for the user',
    '',
    [...call(0, 'call_1', '{"', 'location', '": "', 'Paris', '"}'), END],
    true,
  ),
  {
    name: 'two calls, one after the other',
    questions: ['Paris and Beijing?'],
    answers: [
      [
        ...call(0, 'call_1', '{"', 'location', '": "', 'Paris', '"}'),
        ...call(1, 'call_2', '{"', 'location', '": "', 'Beijing', '"}'),
        END,
      ],
      text('22 and 10 degrees.'),
    ],
    transcript: [
      ...ASK,
      ...round(PARIS, PARIS.replace('Paris', 'Beijing').replace('call_1', 'call_2')),
      ...round('22 and 10 degrees.'),
      ...QUIT,
    ],
    isSameOnAgere: true,
  },
  paris(
    'arguments that arrive character by character',
    'I look.',
    [...call(0, 'call_1', ...'{"to_user": "I look.", "location": "Paris"}'), END],
    false,
  ),
  paris(
    'escapes in the text for the user',
    'I look "there" – now.',
    [
      ...call(
        0,
        'call_1',
        '{"',
        'to_user',
        '": "',
        'I look \\"there\\" \\u2013 now.',
        '", "',
        'location',
        '": "',
        'Paris',
        '"}',
      ),
      END,
    ],
    false,
  ),
  paris(
    'text for the user as the last argument',
    'I look.',
    [
      ...call(0, 'call_1', '{"', 'location', '": "', 'Paris', '", "', 'to_user', '": "', 'I look.', '"}'),
      END,
    ],
    false,
  ),
  paris(
    'null as the text for the user',
    '',
    [...call(0, 'call_1', '{"', 'to_user', '": null, "', 'location', '": "', 'Paris', '"}'), END],
    false,
  ),
  paris(
    'arguments in the chunk of the name',
    '',
    [
      {
        delta: {
          tool_calls: [
            {
              index: 0,
              id: 'call_1',
              type: 'function',
              function: { name: 'get_current_weather', arguments: '{"location": "Paris"}' },
            },
          ],
        },
      },
      END,
    ],
    false,
  ),
  paris(
    'a call that ends with the reason "stop"',
    '',
    [...call(0, 'call_1', '{"', 'location', '": "', 'Paris', '"}'), { delta: {}, finish_reason: 'stop' }],
    false,
  ),
  paris(
    'an empty content beside each piece of a call',
    '',
    [
      ...call(0, 'call_1', '{"', 'location', '": "', 'Paris', '"}').map(({ delta }) => ({
        delta: { content: '', ...delta },
      })),
      END,
    ],
    false,
  ),
  {
    name: 'a tool that does not exist',
    questions: ['Fly'],
    answers: [
      [
        opening(0, 'call_1', 'fly'),
        more(0, '{"'),
        more(0, 'to'),
        more(0, '": "'),
        more(0, 'Paris'),
        more(0, '"}'),
        END,
      ],
      text('I cannot fly.'),
    ],
    transcript: [
      ...ASK,
      ...round('Function call: fly(to=Paris); ID: call_1.'),
      ...round('I cannot fly.'),
      ...QUIT,
    ],
    isSameOnAgere: true,
  },
];
