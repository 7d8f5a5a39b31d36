/** Base URL of the OpenAI API, for a model without another one. It loads without the `openai` package. */
export const OPENAI_BASE_URL = 'https://api.openai.com/v1';

/** True for Azure OpenAI, which takes the key in a header of its own and requires `api-version` in the query. */
export function isAzure(baseUrl: string): boolean {
  const { hostname, pathname } = new URL(baseUrl);
  return /\.azure\.com$/i.test(hostname) || pathname.includes('/openai/deployments/');
}
