import { offlineModel } from '@fame-fabric/agents';
import { refineUserContext } from '@fame-fabric/agents/strategy';

const answers = ['The customers of my bakery', 'By May', 'yes'];
const dialogue = refineUserContext('I want a web site', { models: { default: offlineModel() } });

let step = await dialogue.next('');
while (!step.done) {
  const asked =
    step.value.kind === 'questions' ? step.value.questions.map(({ text }) => text) : [step.value.question];
  const answer = answers.shift() ?? 'yes';
  console.log(`${step.value.goal}\n  ${asked.join(' ')}\n  > ${answer}`);
  step = await dialogue.next(answer);
}
console.log([step.value.goalSentence, ...step.value.goals.map((goal) => `- ${goal}`)].join('\n'));
