// Mermaid as a parser, without a browser: the nodes and arrows that it reads from a diagram.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { installOnce } from './install-packages.ts';
import { ROOT } from './processes.ts';

const FOLDER = join(ROOT, 'test/mermaid');

export const ensureMermaid = (): void => installOnce(FOLDER, 'mermaid');

/** Nodes by id, with their texts, and arrows in the order of the source. Types of diagrams that we do not write have neither. */
export interface ParsedDiagram {
  readonly type: string;
  readonly nodes: ReadonlyMap<string, string>;
  readonly arrows: readonly { readonly from: string; readonly to: string; readonly label: string }[];
}

// biome-ignore lint/suspicious/noExplicitAny: the database of a diagram has no types of its own
type Json = any;

const load = (file: string): Promise<Json> =>
  import(pathToFileURL(join(FOLDER, 'node_modules', file)).href).then((module) => module.default);

/** Loads Mermaid and returns its parser, which rejects invalid diagrams. */
export async function loadMermaid(): Promise<(source: string) => Promise<ParsedDiagram>> {
  ensureMermaid();
  // Without a browser, DOMPurify lacks the functions that Mermaid calls while it parses. These stand-ins keep texts unchanged.
  Object.assign(await load('dompurify/dist/purify.es.mjs'), {
    addHook: () => {},
    sanitize: (text: string) => text,
  });
  const mermaid = await load('mermaid/dist/mermaid.core.mjs');
  return async (source) => {
    await mermaid.parse(source);
    const { type, db } = await mermaid.mermaidAPI.getDiagramFromText(source);
    if (type === 'stateDiagram') {
      return {
        type,
        nodes: new Map(
          [...db.getStates()].map(([id, state]: Json) => [id, text(state.descriptions[0] ?? '')]),
        ),
        arrows: db
          .getRelations()
          .map(({ id1, id2, relationTitle }: Json) => ({ from: id1, to: id2, label: text(relationTitle) })),
      };
    }
    if (!type.startsWith('flowchart')) return { type, nodes: new Map(), arrows: [] };
    return {
      type,
      nodes: new Map([...db.getVertices()].map(([id, vertex]: Json) => [id, text(vertex.text)])),
      arrows: db
        .getEdges()
        .map((edge: Json) => ({ from: edge.start, to: edge.end, label: text(edge.text ?? '') })),
    };
  };
}

/** A text as it would be drawn: Mermaid keeps entities in an encoding of its own until then. */
const text = (encoded: string): string =>
  encoded
    .replace(/ﬂ°°(\d+)¶ß/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll('ﬂ°quot¶ß', '"');
