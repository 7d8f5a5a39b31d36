// A chat agent on the unmodified peer, as one would write it: the `openai` package, and histories in memory. The benchmark compares it with
// ours. It attaches to FAME_DIRECT_ADMISSION_URL and serves the address of its first argument.
import { BaseAgent, NODE_CONFIG } from '@naylence/agent-sdk';
import { operation } from '@naylence/runtime';
import { OpenAI } from 'openai';

const [address = 'chat@fame.fabric'] = process.argv.slice(2);
const MAX_TURNS = 10;
const client = new OpenAI({ maxRetries: 0 });

class ModelChatAgent extends BaseAgent {
  #conversations = new Map();

  start_conversation(id, systemPrompt) {
    this.#conversations.set(id, { systemPrompt, history: [] });
    return null;
  }

  async *run_turn_stream(id, content) {
    const conversation = this.#conversations.get(id);
    if (!conversation) throw new Error('no such conversation');
    const user = { role: 'user', content };
    const stream = await client.chat.completions.create({
      model: process.env.MODEL_NAME,
      messages: [{ role: 'system', content: conversation.systemPrompt }, ...conversation.history, user],
      max_completion_tokens: 4_096,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (!piece) continue;
      text += piece;
      yield { type: 'text', text: piece };
    }
    conversation.history.push(user, { role: 'assistant', content: text });
    conversation.history = conversation.history.slice(-2 * MAX_TURNS);
    yield { type: 'done', text };
  }

  end_conversation(id) {
    this.#conversations.delete(id);
    return null;
  }
}
const { prototype } = ModelChatAgent;
for (const [method, options] of Object.entries({
  start_conversation: {},
  run_turn_stream: { streaming: true },
  end_conversation: {},
})) {
  operation(options)(prototype, method, Object.getOwnPropertyDescriptor(prototype, method));
}

await new ModelChatAgent('model-chat-agent').serve(address, { rootConfig: NODE_CONFIG, logLevel: 'warning' });
