// Checks that the configured model server answers, accepts the key and offers the model. The only request is `GET models`,
// which costs nothing.
import { type ModelConfig, OPENAI_BASE_URL } from '@fame-fabric/agents/process';
import { escapeLine, redactUrl, timeText, tlsFault } from '@fame-fabric/shared/internal';

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
  const base = new URL(baseUrl ?? OPENAI_BASE_URL);
  const { host } = base;
  let response: Response;
  try {
    response = await getModels(base, '/models', apiKey);
  } catch (error) {
    const why = tlsFault(error) ?? causeOf(error);
    const fix = baseUrl
      ? 'Start that server, or correct OPENAI_BASE_URL.'
      : 'Check the network of this machine.';
    return { ok: false, found: `no server answers at ${host} (${why})`, fix };
  }
  if (response.status === 401 || response.status === 403) {
    await response.body?.cancel();
    const fix = 'Set OPENAI_API_KEY to a key of that server, then restart the agent.';
    return { ok: false, found: `${host} refuses the key (${response.status})`, fix };
  }
  if (response.ok) return checkModels(host, name, idsIn(await jsonOf(response)));
  if (isSentinelRefusal(await jsonOf(response))) {
    const fix = 'Set OPENAI_BASE_URL to the URL of the model server.';
    return { ok: false, found: `OPENAI_BASE_URL is the URL of a Fame sentinel (${host})`, fix };
  }
  if (response.status === 404 && (await servesBelowV1(base, apiKey))) {
    const url = `${redactUrl(base.href).replace(/\/+$/, '')}/v1`;
    return { ok: false, found: `${host} has its API below /v1`, fix: `Set OPENAI_BASE_URL=${url}` };
  }
  return { ok: true, found: `${host} answers, and lists no models (${response.status})` };
}

// Sends the credentials and the query of the base URL as the agent does.
function getModels(base: URL, path: string, apiKey: string | undefined): Promise<Response> {
  const url = new URL(base);
  url.pathname = base.pathname.replace(/\/+$/, '') + path;
  url.username = '';
  url.password = '';
  const { username, password } = base;
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const basic = username || password ? `Basic ${Buffer.from(login).toString('base64')}` : undefined;
  const authorization = basic ?? (apiKey === undefined ? undefined : `Bearer ${apiKey}`);
  return fetch(url, {
    headers: authorization === undefined ? {} : { authorization },
    signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
  });
}

// The most common mistake: the URL of the server instead of that of its API.
async function servesBelowV1(base: URL, apiKey: string | undefined): Promise<boolean> {
  if (/\/v1\/*$/.test(base.pathname)) return false;
  try {
    const response = await getModels(base, '/v1/models', apiKey);
    return response.ok && Array.isArray((await jsonOf(response))?.data);
  } catch {
    return false; // it answered the first request, and gives no answer now
  }
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

interface Body {
  data?: unknown;
  error?: { code?: unknown; message?: unknown };
}

// The server may implement chat completions without a list of models, so a body that is not JSON is no fault.
async function jsonOf(response: Response): Promise<Body | undefined> {
  try {
    return ((await response.json()) as Body | null) ?? undefined;
  } catch {
    return undefined;
  }
}

const isSentinelRefusal = (body: Body | undefined): boolean => {
  const { code, message } = body?.error ?? {};
  return code === 'NO_ROUTE' && typeof message === 'string' && message.includes('Fame Fabric sentinel');
};

const idsIn = (body: Body | undefined): string[] =>
  Array.isArray(body?.data)
    ? body.data.flatMap((entry: { id?: unknown } | null) => (typeof entry?.id === 'string' ? [entry.id] : []))
    : [];

function causeOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  return name === 'TimeoutError'
    ? `no answer in ${timeText(PROBE_TIMEOUT_MS)}`
    : (cause?.code ?? 'no connection');
}
