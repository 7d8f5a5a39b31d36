// Asks the model server that the environment names whether it is there, takes the key and offers the model, before an agent
// finds out in the middle of a turn. Only `GET models` is asked, which costs nothing.

const PROBE_MS = 3_000;
const OPENAI = 'https://api.openai.com/v1';
/** Names of other models that are shown, at most. */
const SHOWN = 5;

export interface ModelFinding {
  ok: boolean;
  found: string;
  fix?: string;
}

/** What there is to say about a model server; nothing when the environment names none. */
export async function probeModel(
  env: Readonly<Record<string, string | undefined>>,
): Promise<ModelFinding | undefined> {
  const key = env.OPENAI_API_KEY?.trim();
  const base = env.OPENAI_BASE_URL?.trim();
  if (!key && !base) return undefined;
  const root = (base || OPENAI).replace(/\/+$/, '');
  const url = URL.parse(`${root}/models`);
  if (!url) {
    return { ok: false, found: 'OPENAI_BASE_URL is no URL', fix: 'Write it like http://127.0.0.1:11434/v1.' };
  }
  let response: Response;
  try {
    response = await fetch(url, {
      headers: key ? { authorization: `Bearer ${key}` } : {},
      signal: AbortSignal.timeout(PROBE_MS),
    });
  } catch (error) {
    const fix = base
      ? 'Start that server, or correct OPENAI_BASE_URL.'
      : 'Check the network of this machine.';
    return { ok: false, found: `nobody answers at ${url.host} (${causeOf(error)})`, fix };
  }
  if (response.status === 401 || response.status === 403) {
    await response.body?.cancel();
    const fix = 'Set OPENAI_API_KEY to a key of that server, and start the agent again.';
    return { ok: false, found: `${url.host} refuses the key (${response.status})`, fix };
  }
  if (!response.ok) {
    await response.body?.cancel();
    return { ok: true, found: `${url.host} answers, and lists no models (${response.status})` };
  }
  return checkOffer(url.host, env.MODEL_NAME?.trim() || 'gpt-4.1-mini', await idsIn(response));
}

function checkOffer(host: string, model: string, ids: readonly string[]): ModelFinding {
  if (ids.length === 0) return { ok: true, found: `${host} answers, and lists no models` };
  // Ollama lists `llama3.2:latest` and answers to `llama3.2`.
  if (ids.some((id) => id === model || id === `${model}:latest`)) {
    return { ok: true, found: `${host} offers ${model}` };
  }
  const others = ids.slice(0, SHOWN).join(', ') + (ids.length > SHOWN ? ', ...' : '');
  return {
    ok: false,
    found: `${host} does not offer ${model}`,
    fix: `Set MODEL_NAME to one that it has: ${others}`,
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
    // It answers, and not with JSON: whether it can hold a conversation is not for this question to say.
    return [];
  }
}

function causeOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  return name === 'TimeoutError' ? `no answer in ${PROBE_MS} ms` : (cause?.code ?? 'no connection');
}
