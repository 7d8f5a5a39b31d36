// The provider of a model server for traces and metrics, by its host.

/** Values of `gen_ai.provider.name` by the end of a host name. */
const PROVIDERS: readonly (readonly [host: string, provider: string])[] = [
  ['openai.com', 'openai'],
  ['openai.azure.com', 'azure.ai.openai'],
  ['anthropic.com', 'anthropic'],
  ['generativelanguage.googleapis.com', 'gcp.gemini'],
  ['aiplatform.googleapis.com', 'gcp.vertex_ai'],
  ['amazonaws.com', 'aws.bedrock'],
  ['mistral.ai', 'mistral_ai'],
  ['groq.com', 'groq'],
  ['deepseek.com', 'deepseek'],
  ['x.ai', 'x_ai'],
  ['perplexity.ai', 'perplexity'],
  ['cohere.com', 'cohere'],
  ['moonshot.ai', 'moonshot_ai'],
];

/** Returns the provider of the server at `url`; `openai-compatible` for any other host. */
export function providerOf(url: string): string {
  const { hostname } = new URL(url);
  const found = PROVIDERS.find(([host]) => hostname === host || hostname.endsWith(`.${host}`));
  return found?.[1] ?? 'openai-compatible';
}
