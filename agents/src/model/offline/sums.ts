// Arithmetic for the offline model: finds the expression in a sentence and evaluates it with its own parser, without eval.
// Length and nesting are limited, which bounds the time for any text.

const MAX_CHARS = 200;
const MAX_DEPTH = 32;

type SumResult =
  | { ok: true; expression: string; value: number }
  | { ok: false; expression: string; reason: string };

const WORDS: readonly (readonly [RegExp, string])[] = [
  [/\bsquare root of\s*(\d+(?:\.\d+)?)/gi, 'sqrt($1)'],
  [/\bmultiplied by\b|\btimes\b/gi, '*'],
  [/\bdivided by\b/gi, '/'],
  [/\bto the power of\b/gi, '^'],
  [/\bplus\b/gi, '+'],
  [/\bminus\b/gi, '-'],
  [/\bmodulo\b|\bmod\b/gi, 'mod'],
  [/\bsquared\b/gi, '^2'],
  [/\bcubed\b/gi, '^3'],
  [/(\d+(?:\.\d+)?)\s*(?:%|percent)\s+of\s+/gi, '$1/100*'],
  [/(\d)\s*[x×]\s*(?=[\d(])/gi, '$1*'],
  [/÷/g, '/'],
  [/[−–]/g, '-'],
  [/\*\*/g, '^'],
  [/(\d),(?=\d{3}\b)/g, '$1'],
];

const NUMBER_WORDS =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty'.split(
    ' ',
  );
const NUMBER_WORD = new RegExp(`\\b(?:${NUMBER_WORDS.join('|')})\\b`, 'gi');

// A run of operands and operators that begins and ends with an operand.
const RUN = /(?:sqrt\s*\(|[\d.(-])(?:sqrt|mod|[\d\s.+\-*/^()%])*[\d.)%]/gi;
const OPERATOR = /[\d.)%]\s*(?:[+\-*/^%]|mod)\s*[\d.(s-]|sqrt/i;

const ASKS =
  /\?\s*$|=|^\s*(?:and |so |please )*(?:what|how much|calculate|compute|work out|evaluate|solve|add|subtract|divide)\b|\b(?:minus|divided by)\b/i;

/** Returns the expression in a sentence, or undefined if there is none. The word "that" stands for `previous`. */
export function findSum(sentence: string, previous?: number): string | undefined {
  let text = sentence.slice(0, MAX_CHARS * 4);
  text = text.replace(NUMBER_WORD, (word) => String(NUMBER_WORDS.indexOf(word.toLowerCase())));
  for (const [pattern, operator] of WORDS) text = text.replace(pattern, operator);
  if (previous !== undefined) {
    const value = previous < 0 ? `(${previous})` : String(previous);
    text = text.replace(/\b(?:that|it|the (?:result|answer))\b(?=\s*[+\-*/^])|\bans\b/gi, value);
    text = text.replace(/([+\-*/^])\s*(?:that|it|the (?:result|answer))\b/gi, `$1${value}`);
    // "and times 2?" continues with the previous result.
    text = text.replace(/^\s*(?:and|then|now|so)?[\s,]*([+*/^])\s*(?=[\d(.])/i, `${value}$1`);
    text = text.replace(
      /^\s*(?:and|then|now|so)?[\s,]*\badd\s+(\d+(?:\.\d+)?)(?:\s+to (?:that|it))?/i,
      `${value}+$1`,
    );
  }
  // Dates, telephone numbers and versions look like expressions.
  if (/\b\d{4}-\d{2}-\d{2}\b/.test(text)) return undefined;
  const found = [...text.matchAll(RUN)]
    .map(([run]) => run.trim())
    .filter((run) => run.length <= MAX_CHARS && OPERATOR.test(run) && /\d/.test(run))
    .sort((a, b) => b.length - a.length)[0];
  // "2-3 dogs" and "9/10" are expressions only in a question.
  const asked = /[+*^%]|mod|sqrt/i.test(found ?? '') || ASKS.test(sentence) || found === text.trim();
  return asked ? found : undefined;
}

/** Evaluates an expression with + - * / ^ % mod sqrt and parentheses. */
export function evaluate(expression: string): SumResult {
  try {
    const value = new Parser(expression).parse();
    if (!Number.isFinite(value))
      return { ok: false, expression, reason: 'the result is not a finite number' };
    return { ok: true, expression, value: Number(value.toPrecision(12)) };
  } catch (error) {
    if (!(error instanceof SumError)) throw error;
    return { ok: false, expression, reason: error.message };
  }
}

class SumError extends Error {}

/** Recursive descent, one method for each level of precedence. */
class Parser {
  readonly #tokens: string[];
  #at = 0;
  #depth = 0;

  constructor(expression: string) {
    if (expression.length > MAX_CHARS) throw new SumError('it is too long for me');
    const tokens = expression.match(/\d+\.?\d*|\.\d+|sqrt|mod|[+\-*/^()%]|\S/gi) ?? [];
    this.#tokens = tokens.map((token) => token.toLowerCase());
  }

  parse(): number {
    const value = this.#sum();
    if (this.#at < this.#tokens.length)
      throw new SumError(`I do not understand "${this.#tokens[this.#at]}" in it`);
    return value;
  }

  #take(...wanted: string[]): string | undefined {
    const token = this.#tokens[this.#at];
    if (token === undefined || !wanted.includes(token)) return undefined;
    this.#at += 1;
    return token;
  }

  #sum(): number {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new SumError('it is nested too deeply for me');
    let left = this.#product();
    for (let op = this.#take('+', '-'); op; op = this.#take('+', '-')) {
      const right = this.#product();
      left = op === '+' ? left + right : left - right;
    }
    this.#depth -= 1;
    return left;
  }

  #product(): number {
    let left = this.#power();
    for (let op = this.#take('*', '/', '%', 'mod'); op; op = this.#take('*', '/', '%', 'mod')) {
      // A percent sign at the end of an operand is a percentage: 50% is 0.5.
      if (op === '%' && !this.#startsOperand()) {
        left /= 100;
        continue;
      }
      const right = this.#power();
      if (op !== '*' && right === 0) throw new SumError('a number cannot be divided by zero');
      left = op === '*' ? left * right : op === '/' ? left / right : left % right;
    }
    return left;
  }

  #startsOperand(): boolean {
    const token = this.#tokens[this.#at];
    return token !== undefined && /^[\d.(]|^sqrt$/.test(token);
  }

  #power(): number {
    // -2^2 is -4, as in mathematics.
    let sign = 1;
    for (let op = this.#take('-', '+'); op; op = this.#take('-', '+')) if (op === '-') sign = -sign;
    const base = this.#operand();
    return sign * (this.#take('^') ? base ** this.#power() : base);
  }

  #operand(): number {
    if (this.#take('sqrt')) {
      const value = this.#operand();
      if (value < 0) throw new SumError('a negative number has no real square root');
      return Math.sqrt(value);
    }
    if (this.#take('(')) {
      const value = this.#sum();
      if (!this.#take(')')) throw new SumError('a parenthesis is not closed');
      return value;
    }
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new SumError('it is incomplete');
    if (!/^[\d.]+$/.test(token) || Number.isNaN(Number(token))) {
      throw new SumError(`I do not understand "${token}" in it`);
    }
    this.#at += 1;
    return Number(token);
  }
}
