// Refines a request: restates the goal from the user's messages, asks questions that were not asked before, and splits the
// result into goals.
import { isYes } from './classify.ts';
import type { Conversation } from './conversation.ts';

const QUESTIONS = [
  'Who is it for?',
  'What is the most important thing it must do?',
  'When do you need it?',
  'What is out of scope?',
  'How will you know that it is done?',
  'What are the limits, such as budget, technology or law?',
  'What have you tried so far?',
  'Who decides whether it is good enough?',
];

const clean = (text: string): string =>
  text
    .replace(/^\s*(?:the )?(?:objective|goal|task|request)\s*(?:is)?\s*:\s*/i, '')
    .replace(
      /^(?:please\s+)?(?:help me\s+(?:to\s+)?|i (?:want|need|would like)\s+(?:you\s+)?(?:to\s+)?|can you\s+|could you\s+)/i,
      '',
    )
    .replace(/^(?:no|yes|well|ok)\s*,\s*/i, '')
    .replace(/\s+/g, ' ')
    .replace(/[\s.!?]+$/, '')
    .trim();

// A bare "yes" confirms and adds no requirement.
const statements = (conversation: Conversation): string[] =>
  conversation.userTexts
    .filter((text) => !(isYes(text) && text.length < 20))
    .map(clean)
    .filter(Boolean);

/** Returns the goal in one sentence: the objective and the latest answers. */
export function goalOf(conversation: Conversation): string {
  const [objective = 'an objective that is not defined yet', ...answers] = statements(conversation);
  const start = objective.charAt(0).toUpperCase() + objective.slice(1);
  return `${start}${answers.length > 0 ? ` (${answers.slice(-6).join('; ')})` : ''}.`;
}

/** Returns the goals as a list. */
export function goalsOf(conversation: Conversation): string[] {
  const [objective = 'an objective that is not defined yet', ...answers] = statements(conversation);
  const parts = objective.split(/\s*(?:,|;|\band then\b|\band\b)\s*/).filter((part) => part.length > 2);
  const goals = [...parts, ...answers].map((goal) => goal.charAt(0).toUpperCase() + goal.slice(1));
  return [...new Set(goals)].slice(0, 12);
}

/** Returns `count` questions, new ones first. */
export function questionsFor(conversation: Conversation, count: number): string[] {
  const open = QUESTIONS.filter(
    (question) => !conversation.assistantOutput.includes(question) && !conversation.system.includes(question),
  );
  return [...open, ...QUESTIONS.filter((question) => !open.includes(question))].slice(0, count);
}

/** Number of questions asked so far. */
export const askedCount = (conversation: Conversation): number =>
  QUESTIONS.filter((question) => conversation.assistantOutput.includes(question)).length;
