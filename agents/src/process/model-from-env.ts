// The model of the environment, for agents of users. It is chosen as `fame agent` chooses the model of its agents.
import { isFabricError, type Logger } from '@fame-fabric/shared';
import type { Environment } from '@fame-fabric/shared/internal';
import { createLog } from '@fame-fabric/shared/node';
import type { ChatModel } from '../model/model.ts';
import { type AgentConfig, readAgentConfig } from './config.ts';
import { configuredModels } from './configured-models.ts';

export interface ModelFromEnvOptions {
  /** Name of the model on the configured server. @default MODEL_NAME, else gpt-4.1-mini */
  model?: string | undefined;
  /** @default process.env */
  env?: Environment | undefined;
  /** Receives a warning for each retry. @default the log of the process, on stderr */
  log?: Logger | undefined;
}

/**
 * Returns the model that `fame agent` uses with the same environment: a model of the server of OPENAI_API_KEY and OPENAI_BASE_URL, or,
 * with neither of them, the built-in offline model. If the environment has faults, each request fails with CONFIG_INVALID and their
 * list; `runAgents` reports them at its start.
 */
export function modelFromEnv(options: ModelFromEnvOptions = {}): ChatModel {
  try {
    const config = readAgentConfig(options.env ?? process.env);
    return configuredModels(config.model, options.log ?? logOf(config))(options.model ?? 'default');
  } catch (error) {
    if (!isFabricError(error, 'CONFIG_INVALID')) throw error;
    // The program may not have called `runAgents` yet, which prints the faults without a stack.
    const refuse = (): never => {
      throw error;
    };
    return { name: 'none', stream: refuse };
  }
}

const logOf = ({ logLevel, logFormat }: AgentConfig): Logger =>
  createLog('agents', logLevel, undefined, logFormat);
