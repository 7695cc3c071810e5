# One project, three issues with public notes, a confidential one and a change without text, all through Redmine's models.
ActionMailer::Base.perform_deliveries = false
Setting.notified_events = []
Setting.rest_api_enabled = '1'
Setting.host_name = 'localhost'

admin = User.find_by_login('admin')
alice, bridge = [%w[alice Alice], %w[bridge Bridge]].map do |login, name|
  user = User.new(firstname: name, lastname: 'Agent', mail: "#{login}@a.example", language: 'en')
  user.login = login
  user.password = SecureRandom.hex
  user.save!
  user
end
project = Project.create!(name: 'Helpdesk', identifier: 'helpdesk', is_public: true,
                          trackers: Tracker.all.to_a, enabled_module_names: ['issue_tracking'])
role = Role.givable.find_by_name('Manager')
[alice, bridge].each { |user| Member.create!(project: project, principal: user, roles: [role]) }

ticket = lambda do |subject, description, is_private = false|
  tracker = Tracker.find_by_name('Support')
  Issue.create!(project: project, tracker: tracker, author: alice, subject: subject, description: description, is_private: is_private,
                priority: IssuePriority.default, status: tracker.default_status)
end
change = lambda do |issue, author, notes = '', private_notes: false, **fields|
  issue = Issue.find(issue.id)
  issue.init_journal(author, notes)
  issue.current_journal.private_notes = private_notes
  fields.each { |field, value| issue.send("#{field}=", value) }
  issue.save!
end

notebook = ticket.call('Notebook does not boot', "Customer's notebook stops at the BIOS logo – „Überprüfung“ läuft.\nSecond line.")
printer = ticket.call('Printer prints blank pages', 'New toner, still blank.')
ticket.call('Internal only ticket', 'Nobody outside should see it', true)
change.call(notebook, alice, 'Asked the customer to reseat the memory.')
change.call(notebook, admin, "INTERNAL: customer's contract has lapsed, bill at 200%.", private_notes: true)
change.call(notebook, alice, "Reseated; now 'beeps' 3x.  Emoji: \u{1F4BB}\u{1F525} and CJK: 日本語")
change.call(notebook, alice, done_ratio: 30)
change.call(notebook, alice, 'Closing for now. Überprüfung fertig.', status: IssueStatus.where(is_closed: true).first)
change.call(printer, alice, 'Driver reinstalled.')
