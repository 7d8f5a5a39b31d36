/** Base URL of the OpenAI API, for a model without another one. It loads without the `openai` package. */
export const OPENAI_BASE_URL = 'https://api.openai.com/v1';
