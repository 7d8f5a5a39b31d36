// Pins the public exports, types included. Adding or removing one changes this file.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** Names that a list exports, types included. */
function exportsOf(list: string): string[] {
  const text = readFileSync(new URL(`./${list}.ts`, import.meta.url), 'utf8');
  const clauses = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '[^']+';$/gm)].map(
    ([, names]) => names!,
  );
  expect(text.match(/^export/gm), 'every export is by name').toHaveLength(clauses.length);
  const names = clauses.flatMap((clause) => clause.split(','));
  return names
    .map((name) => name.trim().replace(/^type /, ''))
    .filter((name) => name !== '')
    .sort();
}

const LISTS = {
  index: `
    Agent AgentContext AgentError AgentOptions AgentState AgentStore AgentWorker ApprovalRule ChatAgent ChatAgentOptions ChatModel
    ConversationStore Delivery FabricError McpToolSet McpToolsOptions MemoryStore ModelChunk ModelFromEnvOptions ModelMessage ModelRequest Operation OperationContext Serving SqliteStore
    StateKeys TaskHandler ToolContext ToolError ToolSet createSafeFetch defineAgent isFabricError isMain mcpTools modelFromEnv offlineModel
    openaiModel operation runAgents standardTools taggedToolModel tool
  `,
  team: `
    AbilityContext AbilityDef AbilityFn AbilityModule AbilityReturn AgentConfig AgentConfigT
    ChooseOptions Diagnostic DiagnosticCode Interpolations ListOptions LoadTeamOptions ModelResolver
    RemoteCall RemoteEvent RemoteRequest RunContext Team TeamAgent TeamAgentOptions TeamConfig
    TeamConfigError TeamConfigInput TeamConfigT TeamEdge TeamError TeamEvent TeamGraph TeamResult
    TeamRunOptions TeamTurn analyzeTeam choose dedupe formatDiagnostic list loadTeam readTeam reply
  `,
  strategy: `
    ArgumentsError AskOptions Asked Attempt Budget BudgetOptions ChatMessage ChatModelResponse
    ChatPrompt ChatPromptInit CompletionFunction ExecuteHooks ExecuteOptions FunctionCall FunctionCallOf
    JsonObject JsonSchemaObject
    JsonValue MessageInput ModelClass ModelClasses ParsedArguments Price PriceTable
    PromptStrategy PromptTemplate PropertyDef RefineAgent RefineAgentOptions RefineEntry
    RefineLimitError RefineOptions RefineState RefineStep RefineTurn RefinedGoals RetryPolicy Role Spent
    StrategyEnv StrategyError StrategyRegistry UsageReport askWithRepair defineFunction defineStrategies
    defineStrategy functionFromJsonSchema modelOf refineStep refineStrategy refineUserContext textOfRefine
  `,
  workflow: `
    Commander CommanderOptions ContextWindow ContextWindowOptions EdgeOptions ErrorMode ExitReport
    HandlerCall HandlerHandle JobHandle JobRef NodeEvent NodeOutcome NodeState ParsedToolCall
    Pin ReceivingStages Self Stage StageEvent TaskNode ToolStream TreeCommander UserText WorkRef addConditionalEdge addEdge
    defineHandler defineJob renderTree splitToolStream toolMessage withReceivingStages workflowToMermaid
  `,
  process: `
    AGENT_VARIABLES AgentConfig AgentSource ModelConfig NamedAgent OPENAI_BASE_URL
    ProcessContext RunOptions modelsOf readAgentConfig readPricesFile runAgentProcess runAgents
  `,
  testing: `
    ControlledGate Cut DEFAULT_USAGE FakeOpenAI FakeOpenAIOptions Framing Gate RecordedRequest
    ScriptReply ScriptStep Scripted ScriptedCall ScriptedModel ScriptedModelOptions ScriptedRequest
    ServerReply TestFabric Violation WireRequest allCuts asReply callChunks callTools checkTranscript cutAt
    everyChars failing fakeOpenAI gate httpError lastUser pieces randomCuts reasoning rechunk reply
    scriptedModel seeded stall system testFabric
  `,
};

test.each(Object.entries(LISTS))('the exports of "%s" are the promised ones', (list, names) => {
  expect(exportsOf(list)).toEqual(names.trim().split(/\s+/));
});

test('package.json exports exactly these lists, and the internal one', () => {
  const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const lists = [...Object.keys(LISTS), 'internal'].map((list) => (list === 'index' ? '.' : `./${list}`));
  expect(Object.keys(exports).sort()).toEqual(lists.sort());
});
