// Edits a message by keys: those of readline and Emacs, the history with the arrow keys, search in it with Ctrl-R, and
// completion of commands with Tab. It writes nothing: the screen draws `view`.
import { EditBuffer } from './edit-buffer.ts';
import { InputHistory } from './input-history.ts';

/** A key press, as node:readline reports it. */
export interface Key {
  name?: string | undefined;
  sequence?: string | undefined;
  ctrl?: boolean | undefined;
  meta?: boolean | undefined;
}

export interface LineEditorOptions {
  /** Earlier messages, newest first. */
  history?: readonly string[] | undefined;
  /** Returns the commands that begin with `text`. */
  complete?: ((text: string) => readonly string[]) | undefined;
}

/** A search in the history. */
interface Search {
  query: string;
  /** Index of the entry that was found; -1 for none. */
  index: number;
}

/** Actions by key: `C-` with Ctrl, `M-` with Alt. */
const KEYS: Readonly<Record<string, (buffer: EditBuffer) => void>> = {
  left: (buffer) => buffer.left(),
  'C-b': (buffer) => buffer.left(),
  right: (buffer) => buffer.right(),
  'C-f': (buffer) => buffer.right(),
  'C-left': (buffer) => buffer.wordLeft(),
  'M-left': (buffer) => buffer.wordLeft(),
  'M-b': (buffer) => buffer.wordLeft(),
  'C-right': (buffer) => buffer.wordRight(),
  'M-right': (buffer) => buffer.wordRight(),
  'M-f': (buffer) => buffer.wordRight(),
  home: (buffer) => buffer.lineStart(),
  'C-a': (buffer) => buffer.lineStart(),
  end: (buffer) => buffer.lineEnd(),
  'C-e': (buffer) => buffer.lineEnd(),
  backspace: (buffer) => buffer.deleteLeft(),
  'C-h': (buffer) => buffer.deleteLeft(),
  delete: (buffer) => buffer.deleteRight(),
  'C-d': (buffer) => buffer.deleteRight(),
  'C-w': (buffer) => buffer.cutWordLeft(),
  'C-backspace': (buffer) => buffer.cutWordLeft(),
  'M-backspace': (buffer) => buffer.cutWordLeft(),
  'M-d': (buffer) => buffer.cutWordRight(),
  'C-delete': (buffer) => buffer.cutWordRight(),
  'C-u': (buffer) => buffer.cutToLineStart(),
  'C-k': (buffer) => buffer.cutToLineEnd(),
  'C-y': (buffer) => buffer.yank(),
};

const keyName = ({ name = '', ctrl, meta }: Key): string => `${ctrl ? 'C-' : ''}${meta ? 'M-' : ''}${name}`;

// True for a printable character. Any other input is a key without an action here.
const isText = (text: string | undefined, { ctrl, meta }: Key): text is string =>
  text !== undefined && !ctrl && !meta && !/^[\u0000-\u001f\u007f]/.test(text);

export class LineEditor {
  readonly history: InputHistory;
  readonly #complete: (text: string) => readonly string[];
  #buffer = new EditBuffer();
  /** The message that waits while a reply is edited. */
  #message: EditBuffer | undefined;
  #search: Search | undefined;

  constructor({ history, complete = () => [] }: LineEditorOptions) {
    this.history = new InputHistory(history);
    this.#complete = complete;
  }

  /** The text and the cursor to draw. `label` replaces the prompt during a search. */
  get view(): { text: string; cursor: number; label?: string } {
    if (!this.#search) return { text: this.#buffer.text, cursor: this.#buffer.cursor };
    const { query, index } = this.#search;
    const text = this.history.entry(index) ?? '';
    const state = index < 0 && query !== '' ? 'nothing found' : 'search';
    return { text, cursor: 0, label: `(${state}) ${query.replace(/\s/g, ' ')}: ` };
  }

  get isEmpty(): boolean {
    return this.#buffer.text === '' && !this.#search;
  }

  insert(text: string): void {
    this.#buffer.insert(text);
  }

  /** Inserts pasted text. A paste is never a reply. */
  paste(text: string): void {
    this.endSearch();
    (this.#message ?? this.#buffer).insert(text);
  }

  /** Starts a new line if the text ends with a backslash, which is removed. */
  continueLine(): boolean {
    const { text, cursor } = this.#buffer;
    if (this.#search || cursor !== text.length || !/(?:^|[^\\])(?:\\\\)*\\$/.test(text)) return false;
    this.#buffer.deleteLeft();
    this.#buffer.insert('\n');
    return true;
  }

  /** Empties the editor. Returns its text. */
  take(): string {
    return this.#buffer.take();
  }

  /** Discards a search, or all text. */
  cancel(): void {
    if (this.#search) this.#search = undefined;
    else this.#buffer.take();
  }

  /** Ends a search: the found entry becomes the text. */
  endSearch(): void {
    const found = this.#search && this.history.entry(this.#search.index);
    this.#search = undefined;
    if (found !== undefined) this.#buffer.set(found);
  }

  /** Edits a reply in an empty buffer. The returned function brings the message back. */
  beginReply(): () => void {
    this.endSearch();
    const message = this.#buffer;
    this.#message = message;
    this.#buffer = new EditBuffer();
    return () => {
      this.#buffer = message;
      this.#message = undefined;
    };
  }

  /** Handles a key. Returns the possible completions if the user asked for them. */
  press(text: string | undefined, key: Key): readonly string[] | undefined {
    const name = keyName(key);
    if (name === 'C-r' && !this.#message) return this.#searchOlder();
    if (this.#search && this.#editSearch(name, text, key)) return undefined;
    if (name === 'tab') return this.#completeCommand();
    if (name === 'up' || name === 'C-p') this.#up();
    else if (name === 'down' || name === 'C-n') this.#down();
    else if (KEYS[name]) KEYS[name](this.#buffer);
    else if (isText(text, key)) this.#buffer.insert(text);
    return undefined;
  }

  #up(): void {
    if (this.#buffer.up() || this.#message) return;
    const older = this.history.older(this.#buffer.text);
    if (older !== undefined) this.#buffer.set(older);
  }

  #down(): void {
    if (this.#buffer.down() || this.#message) return;
    const newer = this.history.newer();
    if (newer !== undefined) this.#buffer.set(newer);
  }

  #searchOlder(): undefined {
    this.#search ??= { query: '', index: -1 };
    const { query, index } = this.#search;
    if (query === '') return;
    const found = this.history.find(query, index + 1);
    if (found >= 0) this.#search.index = found;
  }

  /** Returns false if the key ended the search and must be handled as usual. */
  #editSearch(name: string, text: string | undefined, key: Key): boolean {
    const search = this.#search!;
    if (name === 'C-g') this.#search = undefined;
    else if (name === 'backspace' || name === 'C-h') search.query = search.query.slice(0, -1);
    else if (isText(text, key)) search.query += text;
    else {
      this.endSearch();
      return name === 'escape' || name === 'M-escape' || name === 'tab';
    }
    search.index = search.query === '' ? -1 : this.history.find(search.query, 0);
    return true;
  }

  #completeCommand(): readonly string[] | undefined {
    const { text, cursor } = this.#buffer;
    if (cursor !== text.length || !/^\/\S*$/.test(text)) return undefined;
    const found = this.#complete(text);
    if (found.length === 1) this.#buffer.set(`${found[0]} `);
    if (found.length < 2) return undefined;
    let common = found[0]!;
    while (!found.every((one) => one.startsWith(common))) common = common.slice(0, -1);
    if (common.length <= text.length) return found;
    this.#buffer.set(common);
    return undefined;
  }
}
