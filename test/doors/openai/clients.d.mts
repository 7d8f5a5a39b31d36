// The parts of the clients that the tests use. Their own types are there only after the clients were installed.
type Model = object;

export interface ProviderOptions {
  name: string;
  baseURL: string;
  apiKey?: string;
  headers?: Record<string, string>;
  includeUsage?: boolean;
  supportsStructuredOutputs?: boolean;
}
export declare function createOpenAICompatible(options: ProviderOptions): (model: string) => Model;

export declare function createOpenResponses(options: { name: string; url: string }): (model: string) => Model;

interface Options {
  model: Model;
  prompt?: string;
  messages?: object[];
  tools?: Record<string, object>;
  stopWhen?: object;
  output?: object;
  maxRetries?: number;
  abortSignal?: AbortSignal;
  headers?: Record<string, string>;
  onError?: (event: { error: unknown }) => void;
}
interface Result {
  text: string;
  output: unknown;
  finishReason: string;
  usage: { totalTokens: number };
  steps: readonly object[];
}
export declare function generateText(options: Options): Promise<Result>;
export declare function streamText(options: Options): {
  textStream: AsyncIterable<string>;
  finishReason: PromiseLike<string>;
  usage: PromiseLike<{ totalTokens: number }>;
};
export declare function tool(options: {
  description: string;
  inputSchema: object;
  execute: (input: { town: string }) => string;
}): object;
export declare function jsonSchema(schema: object): object;
export declare function stepCountIs(count: number): object;
export declare const Output: { object(options: { schema: object }): object };
