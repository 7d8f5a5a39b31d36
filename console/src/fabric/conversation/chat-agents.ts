// The chat agents of the fabric: those that run turns.
import { computed } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { type CatalogueEntry, catalogue, loadCatalogue } from '../catalogue.ts';
import { client } from '../connection.ts';

/** The description of a chat agent. Agents of earlier versions and of other software lack fields. */
export interface ChatAgent {
  readonly address: string;
  readonly model?: string | undefined;
  readonly systemPrompt?: string | undefined;
  /** True if it lists its conversations. */
  readonly canList: boolean;
}

/** The chat agents by address; undefined until every agent has described itself or failed to. */
const chatAgents = computed((): readonly ChatAgent[] | undefined => {
  const entries = catalogue.value;
  if (entries === undefined) return undefined;
  const found = entries.flatMap(chatAgentOf);
  const isComplete = entries.every(
    ({ description, error }) => description !== undefined || error !== undefined,
  );
  return isComplete || found.length > 0 ? found : undefined;
});

function chatAgentOf({ address, description }: CatalogueEntry): ChatAgent[] {
  const has = (name: string) =>
    description?.operations?.some((operation) => operation.name === name) ?? false;
  if (!has('run_turn')) return [];
  const { model, system_prompt: prompt } = description!;
  return [
    {
      address,
      model: typeof model === 'string' ? model : undefined,
      systemPrompt: typeof prompt === 'string' ? prompt : undefined,
      canList: has('list_conversations'),
    },
  ];
}

const REPEAT_MS = 3_000;

/** Loads the catalogue for a screen, and again every few seconds while it has no chat agent. */
export function useChatAgents(): readonly ChatAgent[] | undefined {
  const connected = client.value;
  const agents = chatAgents.value;
  const isEmpty = agents === undefined || agents.length === 0;
  useEffect(() => {
    if (connected === undefined) return undefined;
    void loadCatalogue();
    if (!isEmpty) return undefined;
    const timer = setInterval(() => void loadCatalogue(), REPEAT_MS);
    return () => clearInterval(timer);
  }, [connected, isEmpty]);
  return agents;
}
