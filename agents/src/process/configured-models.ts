// The models of a configuration: those of the configured server, or, with neither a key nor a base URL, the built-in one.
import type { Logger } from '@fame-fabric/shared';
import type { ChatModel } from '../model/model.ts';
import { offlineModel } from '../model/offline/offline-model.ts';
import { openaiModel } from '../model/openai/openai-model.ts';
import type { ModelConfig } from './config.ts';

/** Returns models by name; `default` is MODEL_NAME. Without a server each of them is the built-in model. */
export function configuredModels(config: ModelConfig, log: Logger): (name: string) => ChatModel {
  if (config.apiKey === undefined && config.baseUrl === undefined) {
    const offline = offlineModel();
    return () => offline;
  }
  const models = new Map<string, ChatModel>();
  return (wanted) => {
    const name = wanted === 'default' ? config.name : wanted;
    const known = models.get(name);
    if (known) return known;
    const fresh = openaiModel({
      model: name,
      apiKey: config.apiKey,
      baseURL: config.baseUrl,
      organization: config.organization,
      project: config.project,
      timeoutMs: config.timeoutMs,
      log,
    });
    models.set(name, fresh);
    return fresh;
  };
}
