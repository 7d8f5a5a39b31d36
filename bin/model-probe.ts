// Checks that the configured model server answers, accepts the key and offers the model. The only request is `GET models`,
// which costs nothing.
import { type ModelConfig, OPENAI_BASE_URL } from '@fame-fabric/agents/process';
import { escapeLine } from '@fame-fabric/shared/internal';

const PROBE_TIMEOUT_MS = 3_000;
const MAX_MODELS_SHOWN = 5;

/** The result of the check. */
export interface ModelFinding {
  ok: boolean;
  found: string;
  fix?: string;
}

/** Checks the model server. Returns `undefined` if the settings name none. */
export async function probeModel({ apiKey, baseUrl, name }: ModelConfig): Promise<ModelFinding | undefined> {
  if (apiKey === undefined && baseUrl === undefined) return undefined;
  const url = new URL(`${(baseUrl ?? OPENAI_BASE_URL).replace(/\/+$/, '')}/models`);
  let response: Response;
  try {
    response = await fetch(url, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
  } catch (error) {
    const fix = baseUrl
      ? 'Start that server, or correct OPENAI_BASE_URL.'
      : 'Check the network of this machine.';
    return { ok: false, found: `no server answers at ${url.host} (${causeOf(error)})`, fix };
  }
  if (response.status === 401 || response.status === 403) {
    await response.body?.cancel();
    const fix = 'Set OPENAI_API_KEY to a key of that server, then restart the agent.';
    return { ok: false, found: `${url.host} refuses the key (${response.status})`, fix };
  }
  if (!response.ok) {
    await response.body?.cancel();
    return { ok: true, found: `${url.host} answers, and lists no models (${response.status})` };
  }
  return checkModels(url.host, name, await idsIn(response));
}

function checkModels(host: string, model: string, ids: readonly string[]): ModelFinding {
  if (ids.length === 0) return { ok: true, found: `${host} answers, and lists no models` };
  // Ollama lists `llama3.2:latest` and accepts `llama3.2`.
  if (ids.some((id) => id === model || id === `${model}:latest`)) {
    return { ok: true, found: `${host} offers ${model}` };
  }
  const others = ids.slice(0, MAX_MODELS_SHOWN).join(', ') + (ids.length > MAX_MODELS_SHOWN ? ', ...' : '');
  return {
    ok: false,
    found: `${host} does not offer ${model}`,
    fix: escapeLine(`Set MODEL_NAME to one of its models: ${others}`),
  };
}

async function idsIn(response: Response): Promise<string[]> {
  try {
    const { data } = (await response.json()) as { data?: unknown };
    if (!Array.isArray(data)) return [];
    return data.flatMap((entry: { id?: unknown } | null) =>
      typeof entry?.id === 'string' ? [entry.id] : [],
    );
  } catch {
    return []; // not JSON; the server may still implement chat completions
  }
}

function causeOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  return name === 'TimeoutError' ? `no answer in ${PROBE_TIMEOUT_MS} ms` : (cause?.code ?? 'no connection');
}
