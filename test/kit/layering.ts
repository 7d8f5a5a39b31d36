// The rules of the repository as functions: each takes a source tree and returns its violations, one line each.
// `test/layering.test.ts` reads the tree from disk; the tests of the rules themselves plant a few lines.
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';

export interface Import {
  /** The name as written. */
  readonly name: string;
  /** A file of ours from the root, a package name or a `node:` module. */
  readonly to: string;
  /** Erased when compiled. */
  readonly isType: boolean;
}

export interface PackageFile {
  readonly exports?: Readonly<Record<string, { readonly 'fame-source'?: string } | string>>;
}

export interface SourceTree {
  readonly sources: ReadonlyMap<string, string>;
  /** The sources without their comments. */
  readonly code: ReadonlyMap<string, string>;
  readonly imports: ReadonlyMap<string, readonly Import[]>;
  /** The `package.json` of each workspace, by its folder. */
  readonly packages: Readonly<Record<string, PackageFile>>;
}

const SCOPE = '@fame-fabric/';
const WILDCARD = './*';

/** The workspace of a file: the first folder of its path, or the first two below `packages`. */
export const workspaceOf = (file: string): string => /^(?:packages\/)?[^/]+/.exec(file)![0];
/** The folder of a workspace by the last part of its package name. */
const folderOf = (room: string, packages: SourceTree['packages']): string =>
  packages[`packages/${room}`] ? `packages/${room}` : room;
const isTest = (file: string): boolean => file.endsWith('.test.ts') || /^(?:test|bench)\//.test(file);
/** True for suites and programs that only tests use; they may do what products may not. */
const isKit = (file: string): boolean => /\/testing\/|\/testing\.ts$|\.conformance\.ts$/.test(file);
/** True for programs on top of the packages; they may import any of them. */
const isExample = (file: string): boolean => /^(?:packages\/)?\w+\/examples\//.test(file);
const isProduct = (file: string): boolean => !isTest(file) && !isKit(file) && !isExample(file);

export const productsOf = (tree: SourceTree): string[] => [...tree.sources.keys()].filter(isProduct).sort();

export function readTree(sources: ReadonlyMap<string, string>, packages: SourceTree['packages']): SourceTree {
  const importsOf = (file: string, text: string): Import[] => {
    const found: Import[] = [];
    const add = (name: string, isType: boolean): void => {
      found.push({ name, to: resolve(file, name, packages), isType });
    };
    for (const [, type, name] of text.matchAll(
      /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm,
    )) {
      add(name!, type !== undefined);
    }
    for (const [, name] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)) add(name!, false);
    // A thread is started from a URL, which ends in .ts in the sources and in .js after a build.
    for (const [, name] of text.matchAll(/\bnew URL\(\s*[`'](\.\/[\w-]+)/g)) {
      if (sources.has(resolve(file, `${name}.ts`, packages))) add(`${name}.ts`, false);
    }
    return found;
  };
  const code = new Map([...sources].map(([file, text]) => [file, withoutComments(text)]));
  return {
    sources,
    code,
    imports: new Map([...code].map(([file, text]) => [file, importsOf(file, text)])),
    packages,
  };
}

/** The text without comments that begin a line or follow a space. Anything else that looks like a comment is in a string. */
const withoutComments = (text: string): string =>
  text.replace(/^\s*(?:\/\/|\/\*\*?|\*\/?(?=\s|$)).*$/gm, '').replace(/\s\/\/ .*$/gm, '');

function resolve(file: string, name: string, packages: SourceTree['packages']): string {
  if (name.startsWith('.')) return join(dirname(file), name);
  const [, room, path] = /^@fame-fabric\/([^/]+)(?:\/(.*))?$/.exec(name) ?? [];
  if (room) {
    const folder = folderOf(room, packages);
    const entry = packages[folder]?.exports?.[path === undefined ? '.' : `./${path}`];
    const source = typeof entry === 'object' ? entry['fame-source'] : undefined;
    return join(folder, source ?? `src/${path ?? 'index'}.ts`);
  }
  return isBuiltin(name)
    ? `node:${name.replace(/^node:/, '')}`
    : name.replace(/^(@[^/]+\/[^/]+|[^/]+).*$/, '$1');
}

/** Every import of the tree with the file that it is in. */
const allImports = (tree: SourceTree): (Import & { readonly from: string })[] =>
  [...tree.imports].flatMap(([from, list]) => list.map((entry) => ({ from, ...entry })));

const OURS = /^(?:shared|sentinel|agents|client|packages|bin|test|bench)\//;

export const missingImports = (tree: SourceTree): string[] =>
  allImports(tree)
    .filter(({ to }) => OURS.test(to) && !tree.sources.has(to) && /\.ts$/.test(to))
    .map(({ from, name }) => `${from} imports ${name}, which does not exist`);

// --- Arrows between the workspaces ---------------------------------------------------------------------------------------

/** Imports between workspaces that `allowed` does not list. */
export const strayArrows = (
  tree: SourceTree,
  allowed: Readonly<Record<string, readonly string[]>>,
): string[] =>
  allImports(tree)
    .filter(({ from, to }) => {
      const [source, target] = [workspaceOf(from), workspaceOf(to)];
      const isFree = isExample(from) || isTest(from) || isKit(from);
      return !isFree && tree.sources.has(to) && source !== target && !allowed[source]?.includes(target);
    })
    .map(({ from, to }) => `${from} -> ${to}`);

/** Products that import test code. */
export const kitImports = (tree: SourceTree): string[] =>
  allImports(tree)
    .filter(({ from, to }) => isProduct(from) && tree.sources.has(to) && (isKit(to) || isTest(to)))
    .map(({ from, to }) => `${from} -> ${to}`);

/** Cycles of a graph: groups of nodes that reach each other, each as one line. */
function cycles(nodes: Iterable<string>, next: (node: string) => Iterable<string>): string[] {
  // Tarjan's strongly connected components.
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const open = new Set<string>();
  const found: string[] = [];
  const visit = (node: string): void => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    stack.push(node);
    open.add(node);
    for (const other of next(node)) {
      if (!index.has(other)) {
        visit(other);
        low.set(node, Math.min(low.get(node)!, low.get(other)!));
      } else if (open.has(other)) low.set(node, Math.min(low.get(node)!, index.get(other)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    for (const member of group) open.delete(member);
    if (group.length > 1) found.push(group.sort().join(' <-> '));
  };
  for (const node of nodes) if (!index.has(node)) visit(node);
  return found.sort();
}

/** Files that import each other in a cycle, type imports included. */
export const fileCycles = (tree: SourceTree): string[] =>
  cycles(tree.imports.keys(), (file) =>
    tree.imports
      .get(file)!
      .map(({ to }) => to)
      .filter((to) => tree.sources.has(to) && to !== file),
  );

// --- Floors inside a workspace -------------------------------------------------------------------------------------------

/** The room of a file: the folder below `src`, or '' for a file directly in it. */
const roomOf = (file: string, base: string): string => {
  const rest = file.slice(base.length + 1);
  return rest.includes('/') ? rest.slice(0, rest.indexOf('/')) : '';
};

/** Imports of a higher floor, rooms without a floor, and files that are in no room and no entry of the package. */
export function floorViolations(
  tree: SourceTree,
  base: string,
  floors: Readonly<Record<string, number>>,
): string[] {
  const found = new Set<string>();
  const entries = Object.values(tree.packages[workspaceOf(base)]?.exports ?? {}).flatMap((entry) =>
    typeof entry === 'object' && entry['fame-source'] ? [join(workspaceOf(base), entry['fame-source'])] : [],
  );
  const files = [...tree.imports.keys()].filter(
    (file) => file.startsWith(`${base}/`) && isProduct(file) && roomOf(file, base) !== 'testing',
  );
  for (const file of files) {
    const room = roomOf(file, base);
    if (room === '') {
      if (!entries.includes(file)) found.add(`${file} is in no room`);
      continue;
    }
    const floor = floors[room];
    if (floor === undefined) found.add(`${base}/${room} has no floor`);
    for (const { to } of tree.imports.get(file)!) {
      if (!to.startsWith(`${base}/`) || !tree.sources.has(to)) continue;
      const target = roomOf(to, base);
      const isHigher = target === '' || (floors[target] ?? 0) > (floor ?? Number.POSITIVE_INFINITY);
      if (isHigher) found.add(`${file} (${floor}) -> ${to} (${floors[target] ?? 'top'})`);
    }
  }
  return [...found];
}

/** Rooms of one floor that import each other in a cycle. */
export function roomCycles(
  tree: SourceTree,
  base: string,
  floors: Readonly<Record<string, number>>,
): string[] {
  const edges = new Map<string, Set<string>>();
  for (const { from, to } of allImports(tree)) {
    if (!from.startsWith(`${base}/`) || !to.startsWith(`${base}/`) || !isProduct(from)) continue;
    const [room, target] = [roomOf(from, base), roomOf(to, base)];
    if (room === target || floors[room] === undefined || floors[room] !== floors[target]) continue;
    edges.set(room, (edges.get(room) ?? new Set()).add(target));
  }
  return cycles(edges.keys(), (room) => edges.get(room) ?? []);
}

// --- Rooms of the console ------------------------------------------------------------------------------------------------

/** The file of the console that screens import from `app`. */
const CONSOLE_ROUTER = 'console/src/app/router.ts';

/**
 * Imports of the console against its order: parts and the router import neither data nor screens, data (`fabric`) imports no parts, a
 * screen imports its own folder, parts, data and the router, and all of them import the entries for browsers of client and shared only.
 */
export const consoleViolations = (tree: SourceTree): string[] =>
  allImports(tree)
    .filter(({ from, to, name }) => {
      if (isTest(from)) return false;
      if (name.startsWith(SCOPE)) return !['client', 'shared'].includes(name.slice(SCOPE.length));
      if (!to.startsWith('console/src/')) return false;
      const [room, target] = [consoleRoom(from), consoleRoom(to)];
      if (room === target || room === 'app' || room === 'main') return false;
      if (room.startsWith('screens/'))
        return !(['parts', 'fabric'].includes(target) || to === CONSOLE_ROUTER);
      return true;
    })
    .map(({ from, to, name }) => `${from} -> ${name.startsWith(SCOPE) ? name : to}`);

/** `parts`, `fabric`, `router`, `app`, `screens/NAME` or `main`. */
const consoleRoom = (file: string): string => {
  if (file === CONSOLE_ROUTER) return 'router';
  return /^console\/src\/(screens\/[^/]+|[^/.]+)/.exec(file)![1]!;
};

// --- What packages export ------------------------------------------------------------------------------------------------

export const wildcardExports = (tree: SourceTree): string[] =>
  Object.entries(tree.packages)
    .filter(([, { exports }]) => exports !== undefined && Object.keys(exports).some((key) => /\*/.test(key)))
    .map(([folder]) => `${folder}/package.json exports "${WILDCARD}"`);

/** Imports of a sibling that do not go through a named export of it. */
export const deepImports = (tree: SourceTree): string[] =>
  allImports(tree)
    .filter(({ from, to, name }) => {
      const isSibling = workspaceOf(from) !== workspaceOf(to) && tree.packages[workspaceOf(to)] !== undefined;
      if (name.startsWith('.')) return isSibling && OURS.test(to);
      if (!name.startsWith(SCOPE)) return false;
      const [room, ...path] = name.slice(SCOPE.length).split('/');
      const key = path.length === 0 ? '.' : `./${path.join('/')}`;
      return tree.packages[folderOf(room!, tree.packages)]?.exports?.[key] === undefined;
    })
    .map(({ from, name }) => `${from} imports ${name}`);

// --- One of each ---------------------------------------------------------------------------------------------------------

export interface Single {
  readonly name: string;
  /** Matches the code of every implementation. */
  readonly pattern: RegExp;
  readonly home: string;
  /** Files that may match too; `test/layering.test.ts` states the reason. */
  readonly also?: readonly string[];
}

/** Second implementations of a single, and patterns that no longer find the first. */
export const secondImplementations = (tree: SourceTree, singles: readonly Single[]): string[] =>
  singles.flatMap(({ name, pattern, home, also = [] }) => {
    const files = productsOf(tree).filter((file) => pattern.test(tree.code.get(file)!));
    const lost = files.includes(home) ? [] : [`no ${name} in ${home}`];
    return [
      ...lost,
      ...files
        .filter((file) => file !== home && !also.includes(file))
        .map((file) => `another ${name} in ${file}`),
    ];
  });

// --- Fences --------------------------------------------------------------------------------------------------------------

/** Products that import what `wanted` selects. */
export const importersOf = (tree: SourceTree, wanted: (to: string, isType: boolean) => boolean): string[] =>
  productsOf(tree).filter((file) => tree.imports.get(file)!.some(({ to, isType }) => wanted(to, isType)));

/** Imports of a library, or of an adapter, outside the files that may have them. */
export const fenceBreaks = (
  tree: SourceTree,
  fences: Readonly<Record<string, readonly string[]>>,
  { countTypes }: { readonly countTypes: boolean },
): string[] =>
  Object.entries(fences).flatMap(([wanted, places]) => {
    const importers = importersOf(tree, (to, isType) => to === wanted && (countTypes || !isType));
    return [
      ...importers.filter((file) => !places.includes(file)).map((file) => `${file} imports ${wanted}`),
      ...places.filter((file) => !importers.includes(file)).map((file) => `${file} lost ${wanted}`),
    ];
  });

/** Libraries that products import. */
export const librariesOf = (tree: SourceTree): string[] => {
  const names = productsOf(tree).flatMap((file) => tree.imports.get(file)!.map(({ to }) => to));
  return [...new Set(names)]
    .filter((to) => /^(?:@[^/]+\/.+|[^/:]+)$/.test(to) && !to.startsWith(SCOPE))
    .sort();
};

/** Modules of Node and libraries for Node that one of `entries` would load in a browser. */
export function nodeModulesBehind(tree: SourceTree, entries: readonly string[]): string[] {
  const reached = new Set<string>();
  const walk = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const { to, isType } of tree.imports.get(file) ?? []) if (!isType) walk(to);
  };
  for (const entry of entries) walk(entry);
  return [...reached].filter((name) => /^node:|^(?:ws|pino)$/.test(name)).sort();
}

const READS_VARIABLE = /\bprocess\.env(?:\.|\[|\?\.)|\}\s*=\s*process\.env\b/;

/** Readers of single environment variables, and readers of the whole environment outside the starts of processes. */
export const environmentReaders = (
  tree: SourceTree,
  allowed: { readonly variable: RegExp; readonly whole: RegExp },
): string[] =>
  productsOf(tree).flatMap((file) => {
    const code = tree.code.get(file)!;
    if (READS_VARIABLE.test(code) && !allowed.variable.test(file)) return [`${file} reads a variable`];
    return /\bprocess\.env\b/.test(code) && !allowed.whole.test(file)
      ? [`${file} reads the environment`]
      : [];
  });

/** Products that open HTTP connections or other connections outwards. */
export const outwardConnections = (tree: SourceTree): string[] =>
  productsOf(tree).filter((file) => {
    const code = tree.code.get(file)!;
    const isClient = /import \{[^}]*\brequest\b[^}]*\} from 'node:https?'/.test(code);
    const dials = tree.imports
      .get(file)!
      .some(({ to }) => ['undici', 'node:http2', 'node:dgram'].includes(to));
    return isClient || dials || /(?<![.\w])fetch\(/.test(code);
  });

export const webSocketDialers = (tree: SourceTree): string[] =>
  productsOf(tree).filter((file) => /\bnew WebSocket\(/.test(tree.code.get(file)!));

// --- Time ----------------------------------------------------------------------------------------------------------------

/** Product files that read wall time, from a clock or directly from the machine. */
export const wallTimeReaders = (tree: SourceTree): string[] =>
  productsOf(tree).filter((file) =>
    /\bDate\.now\b|[cC]lock\.now\b|\bnew Date\(\)/.test(tree.code.get(file)!),
  );

/** Product files that set timers without a clock. */
export const timerSetters = (tree: SourceTree): string[] =>
  productsOf(tree).filter((file) => /(?<![.\w])set(?:Timeout|Interval)\(/.test(tree.code.get(file)!));
