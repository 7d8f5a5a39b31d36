import {
  addConditionalEdge,
  addEdge,
  Commander,
  defineHandler,
  defineJob,
  workflowToMermaid,
} from '@fame-fabric/agents/workflow';

const state = { drafts: 0, text: '' };

const plan = defineJob('plan', (self) => self.fork({ a: research('lamps'), b: research('chairs') }))();
const research = defineHandler('research', async (_self, topic: string) => `facts about ${topic}`);
const write = defineHandler('write', async () => {
  state.drafts += 1;
  state.text = `draft ${state.drafts}`;
})();
const review = defineHandler('review', async () => (state.drafts < 2 ? 'again' : 'good'))();
const publish = defineHandler('publish', async () => console.log(`published ${state.text}`))();

addEdge(plan, write);
addEdge(write, review);
addConditionalEdge(review, { again: write, good: publish }, { maxVisits: 5 });

await new Commander().run(plan, { autoExit: true });
console.log(workflowToMermaid(plan));
