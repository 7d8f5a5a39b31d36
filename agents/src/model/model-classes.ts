// Model classes, such as `fast`: a strategy or an agent names a class, and a table maps it to a model.
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
 * Returns the model of a class. Logs once for each table and class that `default` serves it.
 * @throws {CONFIG_INVALID} when the table has no default
 */
export function modelOf(models: ModelClasses, modelClass: ModelClass, log: Logger = silentLog): ChatModel {
  if (!models.default) throw new FabricError('CONFIG_INVALID', 'The table of models has no "default"');
  const model = Object.hasOwn(models, modelClass) ? models[modelClass] : undefined;
  if (model) return model;
  const classes = warned.get(models) ?? new Set<string>();
  warned.set(models, classes);
  if (!classes.has(modelClass)) {
    classes.add(modelClass);
    log.warn('model class is not set, the default model serves it', {
      model_class: modelClass,
      model: models.default.name,
    });
  }
  return models.default;
}
