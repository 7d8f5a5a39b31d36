// Replies without tools: rules that are tried in order on each clause of the last message. A rule answers or returns undefined.
// If no rule answers, the reply says that the model does not know.
import { cutText } from '@fame-fabric/shared/internal';
import { type Conversation, clauses } from './conversation.ts';
import { askedFor, type Fact, factSentence, factsIn, lookUp } from './facts.ts';
import { counting, JOKE, poem, story } from './long-text.ts';
import { type Persona, readPersona } from './persona.ts';
import { recall } from './recall.ts';
import { evaluate, findSum } from './sums.ts';

/** Input of the rules. `earlier` has the user's messages before the one to answer. */
export interface ReplyContext {
  readonly conversation: Conversation;
  readonly earlier: readonly string[];
  readonly facts: readonly Fact[];
  readonly persona: Persona;
}

type Rule = (clause: string, context: ReplyContext) => string | undefined;

const SELF_DESCRIPTION =
  'I am the offline model of Fame Fabric: a small set of rules that is built in, without a network or a language model.';
const REAL_MODEL =
  'For a real model, write OPENAI_API_KEY=sk-... (or OPENAI_BASE_URL) to the file .env, and start the agent again.';
const TO_TRY =
  'Three things to try: "What is 12% of 80?", "My name is Ada" and then "What is my name?", or "Tell me a story about the sea".';
const ABILITIES =
  'I remember what you tell me in this conversation, do sums, count, repeat, tell stories and jokes, and call the tools of my agent.';

const ORDINALS = 'first second third fourth fifth sixth seventh eighth ninth tenth'.split(' ');

const quote = (text: string): string => `"${cutText(text, 600)}"`;
const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;

/** Rules for the whole message, whose text may contain several sentences. */
const WHOLE: readonly Rule[] = [
  (text) =>
    /^(?:please\s+|can you\s+|could you\s+)?(?:(?:repeat after me|repeat this|echo|say)|write(?=\s*:|\s+["“']))\s*(?::|,)?\s+(?!something|it\b|that\b|again|a\b|an\b|me\b|what\b|hello to\b|one\b|two\b|\d+ (?:words|sentences|lines))(?:exactly\s*:?\s*)?([\s\S]+)$/i
      .exec(text)?.[1]
      ?.replace(/^["“']([\s\S]*)["”']\.?$/, '$1'),
  (text) => /(?:^|[.,;!]\s+|\bplease\s+)repeat\s*:\s*([\s\S]+)$/i.exec(text)?.[1],
  (text) => {
    const match =
      /\b(reverse|spell|upper-?case|lower-?case)\s+(?:the (?:word|text)\s+)?:?\s*["“']?([^"”'\n]{1,200}?)["”']?[.?!]?$/i.exec(
        text,
      );
    const [, verb = '', word = ''] = match ?? [];
    if (!match) return undefined;
    if (/^reverse/i.test(verb)) return quote([...word].reverse().join(''));
    if (/^spell/i.test(verb)) return `${[...word].join('-').toUpperCase()}.`;
    return quote(/^upper/i.test(verb) ? word.toUpperCase() : word.toLowerCase());
  },
];

const asksBack =
  /\b(?:i|we)\b[^?.]{0,30}\b(?:ask|say|said|sa(?:y|id)|tell|told|write|wrote|message|question)/i;

/** Rules for one clause. */
const RULES: readonly Rule[] = [
  // The conversation itself.
  (clause, { conversation, earlier }) => {
    if (!/\bhow (?:many|often)\b/i.test(clause)) return undefined;
    if (
      /\b(?:you|your)\b[^?]{0,30}\b(?:answer|repl|said|say)/i.test(clause) &&
      !/\bI\b|\bmy\b/.test(clause)
    ) {
      return `I have given ${plural(conversation.assistantTexts.length, 'answer')}, as far back as I can see.`;
    }
    if (!/\b(?:turn|message|question|time|thing)s?\b|\bhow often\b/i.test(clause)) return undefined;
    return `You have sent ${plural(earlier.length + 1, 'message')}, including this one, as far back as I can see.`;
  },
  (clause, { earlier }) => {
    if (!asksBack.test(clause) && !/\bmy\b[^?.]{0,30}\b(?:message|question)\b/i.test(clause))
      return undefined;
    const which = ORDINALS.findIndex((word) => new RegExp(`\\b${word}\\b`, 'i').test(clause));
    const isLast = /\b(?:last|previous(?:ly)?|before|just now|just|earlier|recent(?:ly)?)\b/i.test(clause);
    if (which < 0 && !isLast) return undefined;
    const message = which >= 0 ? earlier[which] : earlier.at(-1);
    if (message !== undefined) {
      return which >= 0
        ? // The window may have dropped older messages, and the request does not show it.
          `Your ${ORDINALS[which]} message, as far back as I can see, was: ${quote(message)}`
        : `Your last message was: ${quote(message)}`;
    }
    return earlier.length === 0
      ? 'This is your first message.'
      : `I see only ${plural(earlier.length, 'message')} before this one.`;
  },
  (clause, { conversation }) => {
    if (!/\bwhat (?:did|was|were) (?:you|your)\b[^?]{0,40}\b(?:say|said|answer|reply|message)/i.test(clause))
      return undefined;
    const message = /\bfirst\b/i.test(clause)
      ? conversation.assistantTexts[0]
      : conversation.assistantTexts.at(-1);
    return message === undefined ? 'I have not said anything yet.' : `I said: ${quote(message)}`;
  },
  (clause, { earlier }) => {
    if (
      !/\brepeat\b[^?]{0,20}\b(?:what i said|my (?:last )?message|it|that|again)\b|\bwhat did i (?:just )?(?:say|tell you|ask)\s*(?:you)?\s*\??$/i.test(
        clause,
      )
    ) {
      return undefined;
    }
    const message = earlier.at(-1);
    return message === undefined ? 'This is your first message.' : `You said: ${quote(message)}`;
  },
  (clause, { earlier }) => {
    if (!/\b(?:summari[sz]e|what (?:have|did) we (?:talk|discuss)|sum up|our conversation)/i.test(clause))
      return undefined;
    if (
      /\b(?:summari[sz]e|sum up)\s+(?:this|it|the)\b(?!\s+(?:conversation|chat|dialogue|talk))/i.test(clause)
    )
      return undefined;
    if (earlier.length === 0) return 'We have not talked about anything yet.';
    return `So far you have said: ${earlier.slice(-12).map(quote).join(', ')}.`;
  },
  (clause, { earlier }) => {
    if (!/\bwhat\b[^?]{0,30}\bremember\b/i.test(clause)) return undefined;
    const notes = earlier.map((text) => noted(text)).filter((note) => note !== undefined);
    return notes.length > 0 ? `You asked me to remember: ${notes.map(quote).join(', ')}.` : undefined;
  },

  // Facts that the user stated.
  (clause, { conversation, facts }) => {
    const asked = askedFor(clause);
    if (!asked) return undefined;
    const fact = lookUp(facts, asked.key, asked.owner);
    if (fact) return factSentence(fact);
    if (asked.owner === 'the') return undefined;
    return recall(clause, conversation) ?? `You have not told me your ${asked.words} yet.`;
  },

  // Sums.
  (clause, { conversation }) => {
    const lastNumber = /(-?\d+(?:\.\d+)?)(?=[^\d]*$)/.exec(conversation.assistantTexts.at(-1) ?? '')?.[1];
    const expression = findSum(clause, lastNumber === undefined ? undefined : Number(lastNumber));
    if (expression === undefined) return undefined;
    const sum = evaluate(expression);
    return sum.ok
      ? `${sum.expression} = ${sum.value}`
      : `I cannot calculate ${quote(expression)}: ${sum.reason}.`;
  },

  // Longer texts.
  (clause) => counting(clause),
  (clause, { facts }) =>
    /\b(?:story|tale)\b/i.test(clause) ? story(clause, lookUp(facts, 'name', 'my')?.value) : undefined,
  (clause) => (/\b(?:poem|verse|rhyme)\b/i.test(clause) ? poem(clause) : undefined),
  (clause) => (/\balphabet\b/i.test(clause) ? [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].join(' ') : undefined),
  (clause) => (/\bjoke\b/i.test(clause) ? JOKE : undefined),

  // The model itself.
  (clause, { persona }) => {
    if (
      !/\b(?:who|what) are you\b|\bare you (?:a|an|the|real|human|chatgpt|gpt|ai|offline|online)\b|\bwhat(?:['’]s| is) your name\b|\bwhat model\b|\bwhich model\b|\babout yourself\b/i.test(
        clause,
      )
    ) {
      return undefined;
    }
    const name = persona.givenName;
    const what = name ? SELF_DESCRIPTION.replace('I am', `I am ${name}, played by`) : SELF_DESCRIPTION;
    const role = persona.role ? ` In this conversation I play ${persona.role}.` : '';
    return `${what}${role} ${REAL_MODEL}`;
  },
  (clause) =>
    /\bwhat (?:else )?can you do\b|\bwhat are you (?:able to do|good at|for)\b|^help\b|\bhow can you help\b|\bcan you help me\b/i.test(
      clause,
    )
      ? `${ABILITIES} ${TO_TRY} ${SELF_DESCRIPTION} ${REAL_MODEL}`
      : undefined,
  (clause) =>
    /\bhow\b[^?.]{0,20}\b(?:add|make|write|create|define|give you|get|use)\b[^?.]{0,30}\btools?\b|^(?:add|create|write|make)\b[^?.]{0,20}\btools?\b/i.test(
      clause,
    )
      ? `A tool is a function in the code of an agent: tool({ name, description, parameters, execute }) in a ToolSet. docs/guides/conversation.md shows a whole agent. ${TO_TRY}`
      : undefined,
  (clause) =>
    /\bhow are you\b|\bhow(?:['’]s| is) it going\b/i.test(clause)
      ? 'I am fine, thank you. And you?'
      : undefined,

  // Questions about the outside world.
  (clause) =>
    /\bwhat(?:['’]s| is) the (?:time|date)\b|\bwhat (?:time|day|date) is it\b/i.test(clause)
      ? 'I am the offline model and have no clock. An agent with a clock tool could answer that.'
      : undefined,
];

const GREETING =
  /^(?:hi|hello|hey|howdy|ahoy|good (?:morning|evening|afternoon|day)|greetings|hola|bonjour|salut|hallo|guten (?:tag|morgen|abend)|ciao|ol[áa]|hej|merhaba|你好|您好|こんにちは|안녕(?:하세요)?|привет|здравствуйте|γειά?|नमस्ते|مرحبا|שלום)(?![\p{L}\p{M}])/iu;
const SAD =
  /^i(?:['’]m| am| feel)\s+(?:(?:so|very|really|a bit|a little)\s+)?(?:sad|tired|unhappy|lonely|angry|upset|ill|sick|worried|afraid|bored|depressed)\b/i;
const GLAD =
  /^i(?:['’]m| am| feel)\s+(?:(?:so|very|really)\s+)?(?:happy|glad|fine|good|great|well|excited)\b/i;

/** Rules for a clause that states no fact. */
const SMALL_TALK: readonly Rule[] = [
  (clause, { facts }) => {
    if (!GREETING.test(clause)) return undefined;
    const name = lookUp(facts, 'name', 'my')?.value;
    return `Hello${name ? `, ${name}` : ''}! What would you like to talk about?`;
  },
  (clause) =>
    SAD.test(clause) ? 'I am sorry to hear that. I can tell a story or a joke, if you like.' : undefined,
  (clause) => (GLAD.test(clause) ? 'I am glad to hear that.' : undefined),
  (clause) => (/^(?:many )?(?:thanks|thank you|thx|cheers)\b/i.test(clause) ? 'You are welcome.' : undefined),
  (clause) =>
    /^(?:bye|goodbye|good night|see you|farewell)\b/i.test(clause)
      ? 'Goodbye, and come back soon.'
      : undefined,
  (clause) => {
    const note = noted(clause);
    return note === undefined ? undefined : `I will remember: ${quote(note)}`;
  },
];

const noted = (text: string): string | undefined =>
  /\bremember\s+(?:this|that|the following)?\s*:?\s*([^?]{2,300}?)[.!]?$/i.exec(text)?.[1];

const acknowledge = (fact: Fact): string =>
  fact.key === 'name' && fact.owner === 'my'
    ? `Nice to meet you, ${fact.value}.`
    : `Noted: ${lowerFirst(factSentence(fact))}`;
const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

/** Prepares the input of the rules. */
export function contextOf(conversation: Conversation): ReplyContext {
  const earlier = conversation.last ? conversation.userTexts.slice(0, -1) : conversation.userTexts;
  return {
    conversation,
    earlier,
    facts: [conversation.system, ...conversation.userTexts].flatMap((text) => clauses(text).flatMap(factsIn)),
    persona: readPersona(conversation.system),
  };
}

/** Returns the greeting that opens a conversation. */
export const opening = (context: ReplyContext): string => {
  const name = context.persona.givenName;
  return `Hello! ${name ? `I am ${name}, played by` : 'I am'} the offline model of Fame Fabric. What would you like to talk about?`;
};

/** Answers one clause, or returns undefined. */
const answerClause = (clause: string, context: ReplyContext): string | undefined => {
  const stated = factsIn(clause).map(acknowledge).join(' ');
  for (const rule of stated ? RULES : [...RULES, ...SMALL_TALK]) {
    const answer = rule(clause, context);
    if (answer !== undefined) return stated ? `${stated} ${answer}` : answer;
  }
  return stated || recall(clause, context.conversation);
};

const isQuestion = (text: string): boolean =>
  /\?\s*$/.test(text) || /^(?:what|who|where|when|which|why|how)\b/i.test(text);

/** Replies that no rule applies. The first such reply also introduces the offline model. Never echoes the message as an answer. */
const doNotKnow = (text: string, { conversation }: ReplyContext): string => {
  const explained = conversation.assistantTexts.some((message) => message.includes('OPENAI_API_KEY'));
  if (explained) return 'I have no rule for that: I am only the offline model. Ask "What can you do?".';
  const what = !/[\p{L}\p{N}]/u.test(text)
    ? 'I see no words in that.'
    : isQuestion(text)
      ? 'I do not know that.'
      : 'I have no answer to that.';
  return `${what} ${SELF_DESCRIPTION} ${ABILITIES} ${REAL_MODEL}`;
};

/** Replies in plain words, without the persona's style. `parts` are the clauses to answer. */
export function replyTo(context: ReplyContext, parts: readonly string[]): string {
  const { conversation } = context;
  const whole = parts.join(' ');
  for (const rule of WHOLE) {
    const answer = rule(
      parts.length === conversation.lastClauses.length ? conversation.last : whole,
      context,
    );
    if (answer !== undefined) return answer;
  }
  const answers = parts.map((clause) => ({ clause, text: answerClause(clause, context) }));
  const known = [...new Set(answers.map(({ text }) => text).filter((text) => text !== undefined))];
  if (known.length === 0) return recall(whole, conversation) ?? doNotKnow(whole, context);
  const open = answers.find(({ clause, text }) => text === undefined && isQuestion(clause));
  return [
    // Omit the greeting, which asks for a topic, if the message has one.
    ...known.filter((text) => known.length === 1 || !text.startsWith('Hello')),
    ...(open ? [`I do not know the answer to ${quote(open.clause)}.`] : []),
  ].join(' ');
}
