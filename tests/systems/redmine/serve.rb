# Answers for the tests what Redmine itself shows: its REST interface and its page, as the administrator and as a stranger.
ActionMailer::Base.perform_deliveries = false
$stdin.set_encoding('utf-8')
$stdout.sync = true

ADMIN = User.find_by_login('admin').api_key

def web(method, path, key, **options)
  session = ActionDispatch::Integration::Session.new(Rails.application)
  session.host!('localhost')
  session.send(method, path, headers: { 'X-Redmine-API-Key' => key, 'Content-Type' => 'application/json' }.compact, **options)
  session.response
end

def journals(ticket, key)
  response = web(:get, "/issues/#{ticket}.json?include=journals", key)
  return nil if [401, 403, 404].include?(response.status)
  raise "REST says #{response.status}" unless response.status == 200
  JSON.parse(response.body)['issue']['journals'].reject { |journal| journal['notes'].blank? }
end

# Others may write between two looks; then it is looked again.
def unchanged(ticket)
  state = -> { Journal.uncached { Journal.where(journalized_id: ticket).order(:id).pluck(:id, :private_notes) } }
  loop do
    before = state.call
    seen = yield
    return seen if before == state.call
  end
end

def read(ticket)
  public_ones, page, open_page, all = unchanged(ticket) { look(ticket) }
  (all or raise "there is no ticket #{ticket}").map do |journal|
    id = journal['id']
    is_public = public_ones.include?(id)
    raise "REST and page differ about note #{id}" if is_public != open_page.include?(%(id="change-#{id}"))
    raise "the page does not show note #{id}" unless page.include?(%(id="change-#{id}"))
    { work: id, text: journal['notes'], public: is_public, author: User.find(journal['user']['id']).login }
  end
end

def look(ticket)
  public_ones = (journals(ticket, nil) || []).map { |journal| journal['id'] }
  page = web(:get, "/issues/#{ticket}?key=#{ADMIN}", ADMIN, **{}).body
  open_page = web(:get, "/issues/#{ticket}", nil).body
  [public_ones, page, open_page, journals(ticket, ADMIN)]
end

def changed(ticket)
  Time.iso8601(JSON.parse(web(:get, "/issues/#{ticket}.json", ADMIN).body)['issue']['updated_on']).to_f
end

def find(subject)
  Issue.where(subject: subject).pick(:id)
end

def has(ticket, text)
  Journal.uncached { Journal.where(journalized_id: ticket, notes: text).exists? }
end

def add(ticket, text, is_public)
  issue = Issue.find(ticket)
  journal = issue.init_journal(User.find_by_login('alice'), text)
  journal.private_notes = !is_public
  issue.save!
  journal.id
end

def publish(work)
  response = web(:put, "/journals/#{work}.json", ADMIN, params: { journal: { private_notes: '0' } }.to_json)
  raise "REST says #{response.status}" unless [200, 204].include?(response.status)
  work
end

def new_ticket(subject)
  tracker = Tracker.find_by_name('Support')
  Issue.create!(project: Project.find('helpdesk'), tracker: tracker, author: User.find_by_login('alice'), subject: subject,
                description: subject, priority: IssuePriority.default, status: tracker.default_status).id
end

puts '=> "ready"'
$stdin.each_line do |line|
  asked = JSON.parse(line)
  begin
    # The server may have been killed meanwhile.
    ActiveRecord::Base.connection.verify!
    answer = case asked['do']
             when 'read' then read(asked['ticket'])
             when 'changed' then changed(asked['ticket'])
             when 'find' then find(asked['subject'])
             when 'has' then has(asked['ticket'], asked['text'])
             when 'add' then add(asked['ticket'], asked['text'], asked['public'])
             when 'publish' then publish(asked['work'])
             when 'new_ticket' then new_ticket(asked['subject'])
             end
    puts "=> #{answer.to_json}"
  rescue StandardError => e
    puts "=> #{{ error: "#{e.class}: #{e.message}" }.to_json}"
  end
end
