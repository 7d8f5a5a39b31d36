// Checks the part of Mermaid's flowchart grammar that `workflowToMermaid` writes: a header, nodes with quoted texts, arrows with
// quoted labels. `test/mermaid` parses the same diagrams with Mermaid itself. This checker runs with every unit test and rejects
// everything else.

const TEXT = '"(?:[^"#%<>&;`\\\\\\u0000-\\u001f]|#\\d+;)+"';
const NODE = new RegExp(`^  (n\\d+)(?:\\[(${TEXT})\\]|\\(\\[(${TEXT})\\]\\))$`, 'u');
const ARROW = new RegExp(`^  (n\\d+) (-->|==>)(?:\\|(${TEXT})\\|)? (n\\d+)$`, 'u');

interface Flowchart {
  nodes: Map<string, { shape: 'box' | 'round'; text: string }>;
  arrows: { from: string; to: string; label: string | undefined; thick: boolean }[];
}

const decoded = (text: string): string =>
  text.slice(1, -1).replace(/#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));

/** Parses a flowchart. @throws {Error} with the line that is not in the grammar or has an undeclared node */
export function checkFlowchart(source: string): Flowchart {
  const [header, ...lines] = source.split('\n');
  if (header !== 'flowchart TD') throw new Error(`not a flowchart: ${header}`);
  if (lines.pop() !== '') throw new Error('the last line has no line break');
  const chart: Flowchart = { nodes: new Map(), arrows: [] };
  for (const line of lines) {
    if (/direction\s+(?:TB|TD|BT|LR|RL)/i.test(line)) throw new Error(`read as a direction: ${line}`);
    const node = NODE.exec(line);
    if (node) {
      const [, id, box, round] = node;
      if (chart.nodes.has(id!)) throw new Error(`node declared twice: ${line}`);
      chart.nodes.set(id!, { shape: box ? 'box' : 'round', text: decoded((box ?? round)!) });
      continue;
    }
    const arrow = ARROW.exec(line);
    if (!arrow) throw new Error(`not in the grammar: ${line}`);
    const [, from, kind, label, to] = arrow;
    for (const id of [from!, to!]) if (!chart.nodes.has(id)) throw new Error(`node not declared: ${line}`);
    chart.arrows.push({
      from: from!,
      to: to!,
      label: label === undefined ? undefined : decoded(label),
      thick: kind === '==>',
    });
  }
  return chart;
}
