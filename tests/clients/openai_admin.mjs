// The admin resources of the openai package, as it comes from npm, against a gateway: the same rules as
// openai_admin.py, run by the same tests with the same environment, from a folder that has the package.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

// The package is installed below OPENAI_NODE, and not beside this file.
const require = createRequire(path.join(process.env.OPENAI_NODE, 'package.json'));
const openai = await import(pathToFileURL(require.resolve('openai')).href);
const OpenAI = openai.default.OpenAI ?? openai.default;
const { VERSION } = require('openai/version');

const MODEL = 'tiny';
const MESSAGES = [{ role: 'user', content: 'hi' }];
const baseURL = process.env.GATE_URL;

const admin = (adminAPIKey = process.env.GATE_ADMIN_KEY, options = {}) =>
  new OpenAI({ baseURL, adminAPIKey, ...options }).admin.organization;

/** An admin, and the list of what is sent: the package repeats a conflict unless it is told not to. */
function counting() {
  const sent = [];
  const counted = (...request) => {
    sent.push(request);
    return fetch(...request);
  };
  return [admin(undefined, { fetch: counted }), sent];
}

const calling = (apiKey) => new OpenAI({ baseURL, apiKey, maxRetries: 0 });

async function fails(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor, kind, `${error.constructor.name}, not ${kind.name}: ${error}`);
    return error;
  }
  throw new Error(`no ${kind.name}`);
}

/** Checks that a revoked key is refused, as `is_out` of openai_admin.py does. */
async function isOut(call) {
  const gateways = Number(process.env.GATEWAYS);
  const until = performance.now() + 30_000;
  for (let refused = 0; refused < gateways; ) {
    assert(performance.now() < until, 'it works on');
    try {
      await call();
      refused = 0;
    } catch (error) {
      if (!(error instanceof OpenAI.AuthenticationError)) throw error;
      refused += 1;
      continue;
    }
    assert(gateways > 1, 'the only one knows');
  }
}

const all = async (page) => {
  const entries = [];
  for await (const entry of page) entries.push(entry);
  return entries;
};

/** Follows a list to its end, as the package does, and checks that it was cut into parts. */
async function whole(page, size) {
  assert((await page).data.length <= size);
  const entries = await all(page);
  assert(entries.length > size, 'more than one part');
  assert.equal(new Set(entries.map((entry) => entry.id)).size, entries.length, 'each once');
  return entries;
}

const results = (page) => page.data.flatMap((bucket) => bucket.results);
const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);
const anHourAgo = () => Math.floor(Date.now() / 1000) - 3600;

/** Asks for the usage of a project until all its calls are in the books. */
async function used(report, project, requests) {
  const until = performance.now() + 30_000;
  while (performance.now() < until) {
    const page = await report({
      start_time: anHourAgo(),
      bucket_width: '1h',
      project_ids: [project],
      group_by: ['project_id', 'model', 'api_key_id'],
    });
    if (sum(results(page).map((result) => result.num_model_requests)) === requests) return results(page);
  }
  throw new Error('the calls are in no report');
}

const rules = {
  async project_a_project_is_made_used_billed_and_closed() {
    const organization = admin();
    const project = await organization.projects.create({ name: 'research' });
    assert.deepEqual([project.object, project.status, project.name], ['organization.project', 'active', 'research']);
    assert.deepEqual(await organization.projects.retrieve(project.id), project);
    assert.equal((await organization.projects.update(project.id, { name: 'science' })).name, 'science');

    const service = await organization.projects.serviceAccounts.create(project.id, { name: 'ci' });
    const client = calling(service.api_key.value);
    const chat = { model: MODEL, messages: MESSAGES };
    const answer = await client.chat.completions.create(chat);
    assert(answer.choices[0].message.content.startsWith('Hello from a tiny model'));
    const stream = await client.chat.completions.create({
      ...chat,
      stream: true,
      stream_options: { include_usage: true },
    });
    const streamed = (await all(stream)).at(-1).usage;
    const embedded = await client.embeddings.create({ model: MODEL, input: 'one' });

    const { usage } = organization;
    const found = await used((query) => usage.completions(query), project.id, 2);
    for (const result of found) {
      assert.equal(result.object, 'organization.usage.completions.result');
      const { project_id, model, api_key_id } = result;
      assert.deepEqual([project_id, model, api_key_id], [project.id, MODEL, service.api_key.id]);
    }
    const asked = sum(found.map((result) => result.input_tokens));
    const generated = sum(found.map((result) => result.output_tokens));
    assert.equal(asked, answer.usage.prompt_tokens + streamed.prompt_tokens);
    assert.equal(generated, answer.usage.completion_tokens + streamed.completion_tokens);
    const same = await usage.completions({
      start_time: anHourAgo(),
      group_by: ['batch', 'service_tier', 'api_source'],
    });
    for (const { batch, service_tier, api_source } of results(same)) {
      assert.deepEqual([batch, service_tier, api_source], [false, null, 'unlabeled']);
    }
    const embeddings = await used((query) => usage.embeddings(query), project.id, 1);
    const embeddedInAll = sum(embeddings.map((result) => result.input_tokens));
    assert.equal(embeddedInAll, embedded.usage.prompt_tokens);
    const costs = results(
      await usage.costs({
        start_time: anHourAgo(),
        project_ids: [project.id],
        group_by: ['line_item', 'api_source'],
      }),
    );
    for (const { line_item, amount } of costs) assert.deepEqual([line_item, amount.currency], [MODEL, 'usd']);

    const limit = await organization.projects.rateLimits.updateRateLimit(`rl-${MODEL}`, {
      project_id: project.id,
      max_requests_per_1_minute: 9,
    });
    assert.equal(limit.max_requests_per_1_minute, 9);
    const limits = await all(organization.projects.rateLimits.listRateLimits(project.id));
    assert.deepEqual(limits, [limit]);

    const { apiKeys } = organization.projects;
    const keys = await all(apiKeys.list(project.id, { owner_project_access: 'active' }));
    assert.deepEqual(keys.map((key) => [key.id, key.owner.type]), [[service.api_key.id, 'service_account']]);
    assert.deepEqual(await all(apiKeys.list(project.id, { owner_project_access: 'inactive' })), []);
    assert(!JSON.stringify(keys).includes(service.api_key.value));
    const further = await organization.projects.serviceAccounts.apiKeys.create(service.id, {
      project_id: project.id,
      name: 'nightly',
      scopes: ['models'],
    });
    assert.deepEqual([further.object, further.name], [service.api_key.object, 'nightly']);
    const narrow = calling(further.value);
    assert((await all(narrow.models.list())).length > 0);
    await fails(OpenAI.PermissionDeniedError, () => narrow.chat.completions.create(chat));
    assert((await apiKeys.delete(further.id, { project_id: project.id })).deleted);
    const deleted = await apiKeys.delete(keys[0].id, { project_id: project.id });
    assert.deepEqual([deleted.id, deleted.deleted], [keys[0].id, true]);
    // No calls here, of which a gateway that remembers the key begins some for nobody: those are further down.
    await isOut(() => client.models.list());

    const logs = await all(organization.auditLogs.list({ project_ids: [project.id], limit: 100 }));
    assert.deepEqual(logs.map((log) => log.type).reverse(), [
      'project.created',
      'role.assignment.created',
      'project.updated',
      'service_account.created',
      'role.assignment.created',
      'api_key.created',
      'rate_limit.updated',
      'api_key.created',
      'api_key.deleted',
      'api_key.deleted',
    ]);
    assert.deepEqual(await all(organization.auditLogs.list({ event_types: ['certificate.created'] })), []);
    const rates = { project_ids: [project.id], event_types: ['rate_limit.updated'] };
    const [updated] = await all(organization.auditLogs.list(rates));
    assert.deepEqual(updated['rate_limit.updated'], {
      id: limit.id,
      changes_requested: { max_requests_per_1_minute: 9 },
    });
    const made = { project_ids: [project.id], event_types: ['api_key.created'] };
    const created = (await all(organization.auditLogs.list(made))).at(-1);
    assert.equal(created['api_key.created'].id, service.api_key.id);
    assert.equal(created.actor.type, 'api_key');
    const since = { gte: created.effective_at, lte: created.effective_at + 60 };
    const about = { effective_at: since, resource_ids: [service.api_key.id] };
    const again = await all(organization.auditLogs.list(about));
    assert(again.some((log) => log.id === created.id));

    assert.equal((await organization.projects.archive(project.id)).status, 'archived');
    const there = async (query) => (await all(organization.projects.list(query))).some((one) => one.id === project.id);
    assert(!(await there({})) && (await there({ include_archived: true })));
    const cost = sum(costs.map((result) => Math.round(result.amount.value * 1_000_000)));
    console.log(JSON.stringify({ prompt: asked + embeddedInAll, completion: generated, cost }));
  },

  async lists_are_read_to_their_end() {
    const organization = admin();
    const projects = [];
    for (let number = 0; number < 5; number += 1) {
      projects.push((await organization.projects.create({ name: `project ${number}` })).id);
    }
    const listed = (await whole(organization.projects.list({ limit: 2 }), 2)).map((one) => one.id);
    assert(projects.every((project) => listed.includes(project)));
    const users = await whole(organization.users.list({ limit: 2 }), 2);
    const [project] = projects;
    for (const user of users) {
      assert.deepEqual(await organization.users.retrieve(user.id), user);
      await organization.projects.users.create(project, { user_id: user.id, role: 'owner' });
    }
    assert.equal((await whole(organization.projects.users.list(project, { limit: 2 }), 2)).length, users.length);
    const other = users.find((user) => user.role === 'reader');
    const named = { project_id: project };
    const changed = await organization.projects.users.update(other.id, { ...named, role: 'member' });
    assert.equal(changed.role, 'member');
    assert.equal((await organization.projects.users.retrieve(other.id, named)).role, 'member');
    assert((await organization.projects.users.delete(other.id, named)).deleted);

    const services = organization.projects.serviceAccounts;
    for (let number = 0; number < 5; number += 1) await services.create(project, { name: `service ${number}` });
    const accounts = await whole(services.list(project, { limit: 2 }), 2);
    assert.deepEqual(await services.retrieve(accounts[0].id, named), accounts[0]);
    assert((await services.delete(accounts[0].id, named)).deleted);
    const keys = await whole(organization.projects.apiKeys.list(project, { limit: 2 }), 2);
    assert.equal(keys.length, 4, 'those of the deleted one are gone');
    assert.deepEqual(await organization.projects.apiKeys.retrieve(keys[0].id, named), keys[0]);

    for (let number = 0; number < 3; number += 1) {
      await organization.invites.create({ email: `${number}@example.org`, role: 'reader' });
    }
    const two = projects.slice(0, 2).sort();
    const grants = [{ id: two[0], role: 'member' }, { id: two[1], role: 'owner' }];
    const grace = { email: 'grace@example.org', role: 'owner', projects: grants };
    const invite = await organization.invites.create(grace);
    assert.deepEqual([invite.status, invite.projects], ['pending', grants]);
    assert.equal((await organization.invites.retrieve(invite.id)).email, 'grace@example.org');
    assert((await organization.invites.delete(invite.id)).deleted);
    const invites = await whole(organization.invites.list({ limit: 2 }), 2);
    assert(!invites.some((one) => one.id === invite.id));

    for (let number = 0; number < 3; number += 1) await organization.adminAPIKeys.create({ name: `admin ${number}` });
    const made = await organization.adminAPIKeys.create({ name: 'mine' });
    assert((await whole(organization.adminAPIKeys.list({ limit: 2 }), 2)).some((key) => key.id === made.id));
    assert((await all(admin(made.value).users.list())).length > 0, 'it works at once');
    assert.equal((await organization.adminAPIKeys.retrieve(made.id)).name, 'mine');
    assert((await organization.adminAPIKeys.delete(made.id)).deleted);
    await isOut(() => admin(made.value).users.list());

    const events = await whole(organization.auditLogs.list({ limit: 10 }), 10);
    const logs = events.map((log) => log.id);
    assert.deepEqual(logs, [...logs].sort().reverse(), 'the newest first');
    const before = await organization.auditLogs.list({ limit: 2, before: logs[5] });
    assert.deepEqual(before.data.map((log) => log.id), logs.slice(3, 5));
    for (const kind of new Set(events.map((log) => log.type))) {
      const found = await all(organization.auditLogs.list({ event_types: [kind], limit: 10 }));
      assert.deepEqual(found, events.filter((log) => log.type === kind), `${kind}, and nothing else`);
      assert(found.every((log) => log[kind]), `what is told of ${kind}`);
    }

    assert.equal((await organization.users.update(other.id, { role: 'owner' })).role, 'owner');
    assert((await organization.users.delete(other.id)).deleted);
    await fails(OpenAI.NotFoundError, () => organization.users.retrieve(other.id));
  },

  async refused_nobody_else_administers() {
    const others = [
      [process.env.GATE_KEY, OpenAI.PermissionDeniedError],
      ['wrong', OpenAI.AuthenticationError],
    ];
    for (const [key, kind] of others) {
      await fails(kind, () => admin(key).projects.list());
      await fails(kind, () => admin(key).projects.create({ name: 'mine' }));
    }
  },

  async refused_what_is_not_there_is_not_found() {
    const organization = admin();
    const nothing = '01890a5d-ac96-774b-bcce-b302099a8057';
    await fails(OpenAI.NotFoundError, () => organization.projects.retrieve(nothing));
    await fails(OpenAI.NotFoundError, () => organization.users.retrieve('user_abc'));
    await fails(OpenAI.NotFoundError, () => organization.certificates.list());
  },

  async refused_a_field_at_fault_is_named() {
    const organization = admin();
    for (const [call, param] of [
      [() => organization.projects.create({ name: '' }), 'name'],
      [() => organization.users.list({ limit: 0 }), 'limit'],
      [() => organization.usage.completions({ start_time: 5, end_time: 4 }), 'end_time'],
      [() => organization.auditLogs.list({ event_types: ['certificate.invented'] }), 'event_types'],
    ]) {
      const error = await fails(OpenAI.BadRequestError, call);
      assert.equal(error.param, param);
    }
  },

  async refused_a_project_has_its_limits() {
    const { projects } = admin();
    const { id } = await projects.create({ name: 'research' });
    const service = await projects.serviceAccounts.create(id, { name: 'ci' });
    const none = { project_id: id, max_requests_per_1_minute: 0 };
    await projects.rateLimits.updateRateLimit(`rl-${MODEL}`, none);
    const { completions } = calling(service.api_key.value).chat;
    const chat = () => completions.create({ model: MODEL, messages: MESSAGES });
    assert.equal((await fails(OpenAI.RateLimitError, chat)).code, 'insufficient_quota');
  },

  async refused_a_revoked_key_gets_no_call_at_once_and_anywhere() {
    const { projects } = admin();
    const { id } = await projects.create({ name: 'research' });
    const service = await projects.serviceAccounts.create(id, { name: 'ci' });
    const { completions } = calling(service.api_key.value).chat;
    const chat = () => completions.create({ model: MODEL, messages: MESSAGES });
    const gateways = Number(process.env.GATEWAYS);
    // So that each of them remembers the key.
    for (let asked = 0; asked < gateways; asked += 1) await chat();
    await projects.apiKeys.delete(service.api_key.id, { project_id: id });
    for (let asked = 0; asked < gateways; asked += 1) await fails(OpenAI.AuthenticationError, chat);
  },

  async refused_the_last_admin_stays_and_nothing_is_tried_again() {
    const [organization, sent] = counting();
    const root = (await all(organization.users.list())).find((user) => user.role === 'owner');
    for (const call of [
      () => organization.users.update(root.id, { role: 'reader' }),
      () => organization.users.delete(root.id),
    ]) {
      sent.length = 0;
      await fails(OpenAI.ConflictError, call);
      assert.equal(sent.length, 1, 'a conflict is final');
    }
  },
};

const [what] = process.argv.slice(2);
const wanted = Object.entries(rules).filter(([name]) => name.startsWith(`${what}_`));
assert(wanted.length > 0, what);
for (const [name, rule] of wanted) {
  console.log(`openai ${VERSION}: ${name}`);
  await rule();
}
