// The clients of `package.json`, for test files that the compiler checks without them.
export { createOpenResponses } from '@ai-sdk/open-responses';
export { createOpenAICompatible } from '@ai-sdk/openai-compatible';
export { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';
