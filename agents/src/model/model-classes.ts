// Which model a strategy or an agent runs on. They name a class of model, such as `fast`; the table says which one that is.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import type { ChatModel } from './model.ts';

export type ModelClass = 'fast' | 'smart' | 'long_context' | 'code' | (string & {});

/** A model for each class. A class that is not set is served by `default`. */
export interface ModelClasses {
  readonly default: ChatModel;
  readonly [modelClass: string]: ChatModel | undefined;
}

const warned = new WeakMap<ModelClasses, Set<string>>();

/**
 * The model of a class. Says once for each table that a class is served by `default`.
 * @throws {CONFIG_INVALID} when the table has no default
 */
export function modelOf(models: ModelClasses, modelClass: ModelClass, log: Logger = silentLog): ChatModel {
  if (!models.default) throw new FabricError('CONFIG_INVALID', 'The table of models has no "default"');
  const model = Object.hasOwn(models, modelClass) ? models[modelClass] : undefined;
  if (model) return model;
  const told = warned.get(models) ?? new Set<string>();
  warned.set(models, told);
  if (!told.has(modelClass)) {
    told.add(modelClass);
    log.warn('model class is not set, the default model serves it', {
      model_class: modelClass,
      model: models.default.name,
    });
  }
  return models.default;
}
