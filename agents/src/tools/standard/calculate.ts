// Evaluates arithmetic for the calculator tool: numbers, + - * / % ^, parentheses, a few functions and constants. It has its own
// parser, because a model's text must not run as code.
import { ToolError } from '../tool.ts';

const MAX_CHARS = 1_000;
const MAX_DEPTH = 100;

const FUNCTIONS: Readonly<Record<string, (...values: number[]) => number>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  cos: Math.cos,
  exp: Math.exp,
  floor: Math.floor,
  ln: Math.log,
  log: Math.log10,
  max: Math.max,
  min: Math.min,
  round: Math.round,
  sin: Math.sin,
  sqrt: Math.sqrt,
  tan: Math.tan,
};
const CONSTANTS: Readonly<Record<string, number>> = { pi: Math.PI, e: Math.E };
const HINT = `Use numbers, + - * / % ^, parentheses, ${Object.keys(FUNCTIONS).join(', ')}, pi and e`;

const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const WORD = /[a-zA-Z][a-zA-Z0-9]*/y;
const SPACE = /\s*/y;

class Parser {
  #at = 0;
  #depth = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  all(): number {
    const value = this.#sum();
    if (this.#peek() !== '') throw this.#fault(`"${this.#peek()}" is not expected here`);
    return value;
  }

  #sum(): number {
    let value = this.#product();
    for (;;) {
      if (this.#take('+')) value += this.#product();
      else if (this.#take('-')) value -= this.#product();
      else return value;
    }
  }

  #product(): number {
    let value = this.#signed();
    for (;;) {
      if (this.#take('*')) value *= this.#signed();
      else if (this.#take('/')) value /= this.#divisor();
      else if (this.#take('%')) value %= this.#divisor();
      else return value;
    }
  }

  #divisor(): number {
    const value = this.#signed();
    if (value === 0) throw new ToolError('Division by zero');
    return value;
  }

  #signed(): number {
    return this.#nested(() => {
      if (this.#take('-')) return -this.#signed();
      if (this.#take('+')) return this.#signed();
      return this.#power();
    });
  }

  /** `^` binds to the right and before a sign on its left: 2^3^2 is 512, -2^2 is -4. */
  #power(): number {
    const base = this.#atom();
    return this.#take('^') ? base ** this.#signed() : base;
  }

  #atom(): number {
    if (this.#take('(')) {
      const value = this.#sum();
      this.#expect(')');
      return value;
    }
    const number = this.#match(NUMBER);
    if (number !== undefined) return Number(number);
    const word = this.#match(WORD);
    if (word === undefined)
      throw this.#fault(
        this.#peek() === '' ? 'The expression is incomplete' : `"${this.#peek()}" is not expected here`,
      );
    const name = word.toLowerCase();
    if (Object.hasOwn(CONSTANTS, name)) return CONSTANTS[name]!;
    if (!Object.hasOwn(FUNCTIONS, name)) throw this.#fault(`"${word}" is not known`);
    this.#expect('(');
    const values = [this.#sum()];
    while (this.#take(',')) values.push(this.#sum());
    this.#expect(')');
    if (values.length > 1 && name !== 'max' && name !== 'min') throw this.#fault(`${name} takes one value`);
    return FUNCTIONS[name]!(...values);
  }

  #nested(parse: () => number): number {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw this.#fault('The expression is nested too deep');
    const value = parse();
    this.#depth -= 1;
    return value;
  }

  #match(pattern: RegExp): string | undefined {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #peek(): string {
    this.#match(SPACE);
    return this.#text[this.#at] ?? '';
  }

  #take(sign: string): boolean {
    if (this.#peek() !== sign) return false;
    this.#at += 1;
    return true;
  }

  #expect(sign: string): void {
    if (!this.#take(sign)) throw this.#fault(`"${sign}" is missing`);
  }

  #fault(message: string): ToolError {
    return new ToolError(`${message}, at ${this.#at}`, { hint: HINT });
  }
}

/** Returns the value of an expression, rounded to 15 digits so that 0.1 + 0.2 is 0.3. @throws {ToolError} with a hint for the model */
export function calculate(expression: string): number {
  if (expression.length > MAX_CHARS)
    throw new ToolError(`The expression is longer than ${MAX_CHARS} characters`);
  const normal = expression
    .replaceAll('**', '^')
    .replaceAll('×', '*')
    .replaceAll('÷', '/')
    .replaceAll('−', '-');
  const value = new Parser(normal).all();
  if (!Number.isFinite(value)) throw new ToolError('The result is not a finite number');
  return Number(value.toPrecision(15));
}
