# What has to be there before a machine is made. Each thing that is not is one sentence with what to do; Vagrant itself would
# say some of it after minutes, and some not at all.
require "open3"
require "socket"
require "uri"

module Requirements
  PROVIDERS = %w[libvirt virtualbox].freeze
  # In MB: what Debian's kernel and its initial file system need to start.
  SMALLEST = 256

  module_function

  # The sentence, or nil. `arguments` are Vagrant's, `machines` the names of all that the lab has, `lab` is its name, and `folder`
  # where Vagrant keeps what it has made. `plugin`: Vagrant has the one for libvirt. `root` is the machine's; a test has another one.
  def missing(arguments, machines:, lab:, box:, package:, driver:, memory:, folder:, plugin: true, root: "/")
    # As of `lbctl lab`.
    return "`#{lab}` is no name for a lab (LBCTL_LAB_NAME): 1 to 40 letters, digits, `-` and `_`" unless lab.match?(/\A[\w-]{1,40}\z/)

    wished_machines = machines & arguments
    wished_machines = machines if wished_machines.empty?
    up_with = PROVIDERS.find { |one| machines.any? { |name| made?(folder, name, one) } }
    # Vagrant takes each machine up by what has made it, and makes none but by `up`.
    goes_on = arguments.first != "up" || (up_with && wished_machines.all? { |name| made?(folder, name, up_with) })
    provider = wished(arguments) || (up_with if goes_on) || ENV["VAGRANT_DEFAULT_PROVIDER"]
    if provider && !PROVIDERS.include?(provider)
      return "The lab runs with #{PROVIDERS.join(" or ")}, not with #{provider}: vagrant up --provider libvirt"
    end
    found = PROVIDERS.select { |name| available?(name, root) }
    if found.empty?
      return "No hypervisor is here. Debian: apt install vagrant-libvirt libvirt-daemon-system qemu-system-x86; or install " \
             "VirtualBox. Without one: lbctl lab up"
    end
    if provider && !found.include?(provider)
      return "#{provider} is not here, but #{found.first} is: vagrant up --provider #{found.first}"
    end
    found.delete("libvirt") unless plugin
    if found.empty? || (provider == "libvirt" && !plugin)
      return "libvirt is here, but Vagrant's plugin for it is not: apt install vagrant-libvirt; elsewhere: vagrant plugin install " \
             "vagrant-libvirt"
    end
    provider ||= found.first
    if up_with && up_with != provider
      return "The lab is up with #{up_with}, or half up, and machines of #{provider} would not reach it: vagrant up --provider " \
             "#{up_with}; or begin anew: vagrant destroy -f"
    end
    to_make = wished_machines.reject { |name| made?(folder, name, provider) }
    too_little_memory(memory, to_make.size, root) ||
      (provider == "libvirt" && (no_virtualisation(driver, root) || taken(lab, machines, folder))) ||
      (provider == "virtualbox" && (no_virtualisation_for_virtualbox(root) || taken_of_virtualbox(lab, machines, folder))) ||
      no_package(package) || too_new(package, box) ||
      (to_make.any? && (no_box(box, provider) || (provider == "libvirt" && half_copied(box)))) || nil
  end

  def wished(arguments)
    arguments.each_with_index do |argument, index|
      return arguments[index + 1] if argument == "--provider"
      return argument.delete_prefix("--provider=") if argument.start_with?("--provider=")
    end
    nil
  end

  def available?(provider, root)
    programs = { "libvirt" => %w[libvirtd virtqemud], "virtualbox" => %w[VBoxManage] }.fetch(provider)
    folders = ENV.fetch("PATH", "").split(":") << File.join(root, "usr/sbin")
    programs.any? { |program| folders.any? { |folder| File.executable?(File.join(folder, program)) } }
  end

  def identity(folder, name, provider)
    File.read(File.join(folder, "machines", name, provider, "id")).strip
  rescue SystemCallError
    ""
  end

  def made?(folder, name, provider)
    !identity(folder, name, provider).empty?
  end

  def too_little_memory(memory, machines, root)
    number = Integer(memory, exception: false)
    if number.nil? || number < SMALLEST
      return "LBCTL_MEMORY is the memory of each machine in MB, #{SMALLEST} or more, and not #{memory}"
    end
    free = available_memory(root)
    return unless free && free < number * machines

    "The machines need #{number * machines} MB of memory, and #{free} MB are free. Less for each: LBCTL_MEMORY=384 vagrant up; " \
      "or only some: vagrant up web1 lb1 lb2 client"
  end

  # In MB; nil where the kernel doesn't say.
  def available_memory(root)
    line = File.foreach(File.join(root, "proc/meminfo")).find { |each| each.start_with?("MemAvailable:") }
    line && line.split[1].to_i / 1024
  rescue SystemCallError
    nil
  end

  def no_virtualisation(driver, root)
    return "LBCTL_LIBVIRT_DRIVER is kvm or qemu, not #{driver}" unless %w[kvm qemu].include?(driver)
    return if driver == "qemu" || File.exist?(File.join(root, "dev/kvm"))

    "This machine has no hardware virtualisation (/dev/kvm). Without it the lab is slow: LBCTL_LIBVIRT_DRIVER=qemu vagrant up"
  end

  # What VirtualBox can't do without, where the kernel says what the processor has.
  def no_virtualisation_for_virtualbox(root)
    flags = File.foreach(File.join(root, "proc/cpuinfo")).find { |line| line.start_with?("flags") }
    return if flags.nil? || flags.match?(/\b(vmx|svm)\b/)

    "This machine has no hardware virtualisation (vmx or svm in /proc/cpuinfo), which VirtualBox needs: is it switched on in the BIOS? " \
      "libvirt can do without, slowly: LBCTL_LIBVIRT_DRIVER=qemu vagrant up --provider libvirt"
  rescue SystemCallError
    nil
  end

  # Machines of VirtualBox that are in networks of our names and are not of this folder. Its machines have names of their own.
  def taken_of_virtualbox(lab, machines, folder)
    networks = %w[front back].map { |name| "lbctl-#{lab}-#{name}" }
    ours = machines.map { |name| identity(folder, name, "virtualbox") }
    found = run("VBoxManage", "list", "runningvms").filter_map do |line|
      machine, uuid = line.match(/\A"(.*)" \{(.*)\}\z/)&.captures
      next if uuid.nil? || ours.include?(uuid)

      its = run("VBoxManage", "showvminfo", uuid, "--machinereadable").filter_map { |fact| fact[/\Aintnet\d+="(.*)"\z/, 1] }
      [machine, uuid, (its & networks).first] if (its & networks).any?
    end
    return if found.empty?

    names = found.map { |machine, _, network| "#{machine} (in the network #{network})" }
    all = found.map { |_, uuid, _| uuid }.join(" ")
    "#{in_words("machine", names)} running, and not this lab's. #{ANOTHER_NAME}; or stop what runs: for m in #{all}; do VBoxManage " \
      "controlvm $m poweroff; done; and if it was made here, and Vagrant's own folder .vagrant is gone: for m in #{all}; do VBoxManage " \
      "unregistervm --delete $m; done"
  end

  # Machines and networks of libvirt that have our names and are not of this folder. Vagrant would take such a network for its own,
  # and two labs would have the same addresses in it.
  def taken(lab, machines, folder)
    there = virsh("list", "--all", "--name") or return
    if there.is_a?(Failure)
      return "libvirt does not answer (#{there.reason}). Does it run: sudo systemctl start libvirtd; are you in its group: " \
             "sudo adduser #{ENV.fetch("USER", "USER")} libvirt, and log in again"
    end
    domains = machines.filter_map do |name|
      domain = "lbctl-#{lab}-#{name}"
      domain if there.include?(domain) && virsh("domuuid", domain) != [identity(folder, name, "libvirt")]
    end
    ours = machines.flat_map { |name| lines(File.join(folder, "machines", name, "libvirt", "created_networks")) }
    networks = networks_of(lab).select { |name| (Array(virsh("net-uuid", name)) & ours).empty? }
    told_of(domains, networks, File.dirname(folder))
  end

  # All of it at once, with what removes it.
  def told_of(domains, networks, here)
    return if domains.empty? && networks.empty?

    names = in_words("machine", domains)
    removal = removal_of(domains, networks)
    return "#{in_words("network", networks)} here already, and not this lab's. #{ANOTHER_NAME}; or, if nothing uses it: #{removal}" if names.nil?

    source = domains.filter_map { |domain| source_of(domain) }.first
    if source == here
      return "#{names} here already, made in this folder, and Vagrant's own folder .vagrant, which knew of that, is gone. Remove all of it: " \
             "#{removal}; then again: vagrant up"
    end
    "#{names} here already, and not this lab's#{" but of #{source}" if source}. End it there: vagrant destroy -f; or here: #{removal}; or: " \
      "#{ANOTHER_NAME}"
  end

  ANOTHER_NAME = "Another name for this lab: LBCTL_LAB_NAME=lab2 vagrant up".freeze

  # "The machines a, b are", "The machine a is"; nil for none.
  def in_words(kind, names)
    return if names.empty?

    names.one? ? "The #{kind} #{names.first} is" : "The #{kind}s #{names.join(", ")} are"
  end

  def removal_of(domains, networks)
    virsh = "virsh -c qemu:///system"
    steps = []
    steps << "for m in #{domains.join(" ")}; do #{virsh} destroy $m; #{virsh} undefine --remove-all-storage $m; done" if domains.any?
    steps << "for n in #{networks.join(" ")}; do #{virsh} net-destroy $n; #{virsh} net-undefine $n; done" if networks.any?
    steps.join("; ")
  end

  # Those that libvirt has.
  def networks_of(lab)
    %w[front back].map { |name| "lbctl-#{lab}-#{name}" } & Array(virsh("net-list", "--all", "--name"))
  end

  # Removes machines that an `up` of this folder has made and, killed at that moment, not written down: Vagrant would neither take
  # them up nor destroy them. They have never been started. And networks of our names that no machine is there for. All their names, for a
  # message.
  def remove_leftovers(lab, machines, folder)
    shut_off = Array(virsh("list", "--state-shutoff", "--name"))
    left = machines.select do |name|
      domain = "lbctl-#{lab}-#{name}"
      shut_off.include?(domain) && !made?(folder, name, "libvirt") && source_of(domain) == File.dirname(folder)
    end
    left.each { |name| virsh("undefine", "--remove-all-storage", "lbctl-#{lab}-#{name}") }
    left + remove_networks_of_nobody(lab)
  end

  # Whoever has a network has made a machine before.
  def remove_networks_of_nobody(lab)
    there = virsh("list", "--all", "--name")
    return [] if !there.is_a?(Array) || there.any? { |domain| domain.start_with?("lbctl-#{lab}-") }

    networks_of(lab).each do |network|
      virsh("net-destroy", network)
      virsh("net-undefine", network)
    end
  end

  def source_of(domain)
    Array(virsh("desc", domain)).join(" ")[%r{Source: (\S+)/Vagrantfile}, 1]
  end

  Failure = Struct.new(:reason)

  # What a program prints, line by line; nothing where it is not.
  def run(*command)
    Open3.capture2(*command, err: File::NULL).first.lines.map(&:strip)
  rescue Errno::ENOENT
    []
  end

  # What it prints, line by line; nil where it is not.
  def virsh(*arguments)
    output, error, status = Open3.capture3("virsh", "-q", "-c", "qemu:///system", *arguments)
    status.success? ? output.lines.map(&:strip).reject(&:empty?) : Failure.new(error.lines.last.to_s.strip)
  rescue Errno::ENOENT
    nil
  end

  def lines(file)
    File.readlines(file, chomp: true)
  rescue SystemCallError
    []
  end

  def no_package(package)
    return if File.file?(package)
    return "#{package} is missing (LBCTL_PACKAGE)" unless package.empty?

    "There is no package to install: #{here("../cli/package/build")} makes it; or name one: LBCTL_PACKAGE=FILE vagrant up"
  end

  # The machines would refuse it after minutes.
  def too_new(package, box)
    return unless box == "debian/bookworm64"
    depends, status = Open3.capture2("dpkg-deb", "-f", package, "Depends", err: File::NULL)
    needs = status.success? && depends[/\blibc6 \(>= ([\d.]+)\)/, 1]
    return unless needs && Gem::Version.new(needs) > Gem::Version.new("2.36")

    "#{package} needs the C library #{needs}, and the box #{box} has 2.36: build it on Debian 12, or take a newer box (LBCTL_BOX=BOX vagrant up)"
  rescue Errno::ENOENT
    nil
  end

  # libvirt starts machines from a copy of the box. One that is not whole, because an `up` was killed while it was made, is taken for
  # one that is, and Vagrant waits in vain for machines of it.
  def half_copied(box)
    place = place_of(box)
    Dir.glob("**/libvirt/box.img", base: place).each do |path|
      image = File.join(place, path)
      version = path.split("/").first
      # As vagrant-libvirt calls those without a version.
      version = "0_#{File.mtime(image).to_i}" if version == "0"
      copy = "#{box.gsub("/", "-VAGRANTSLASH-")}_vagrant_box_image_#{version}_box.img"
      said = virsh("vol-info", "--bytes", "--physical", "--pool", "default", copy)
      bytes = said.is_a?(Array) && said.filter_map { |line| line[/\APhysical: *(\d+)/, 1] }.first
      next unless bytes && bytes.to_i < File.size(image)

      return "libvirt's copy of the box is not whole: an `up` was killed while it was made. Remove it, then again: virsh -c " \
             "qemu:///system vol-delete --pool default #{copy}"
    end
    nil
  end

  def here(path)
    File.expand_path(path, __dir__)
  end

  def place_of(box)
    home = ENV.fetch("VAGRANT_HOME") { File.join(Dir.home, ".vagrant.d") }
    File.join(home, "boxes", box.gsub("/", "-VAGRANTSLASH-").gsub(":", "-VAGRANTCOLON-"))
  end

  def no_box(box, provider)
    own = "Build one: sudo #{here("box")}; add it: vagrant box add --name lbctl-lab #{here("../target/lbctl-lab.box")}; and LBCTL_BOX=lbctl-lab vagrant up"
    place = place_of(box)
    return if Dir.glob("**/#{provider}", base: place).any?
    return "The box #{box} is here, but not for #{provider} (vagrant box list). #{own}" if Dir.exist?(place)
    return if box.include?("://") || File.file?(box)
    return "The box #{box} is not here (vagrant box list). #{own}" unless box.include?("/")

    catalogue = URI(ENV.fetch("VAGRANT_SERVER_URL", "https://vagrantcloud.com"))
    # What a proxy reaches is for the proxy to say.
    return if catalogue.find_proxy || reachable?(catalogue)

    "The box #{box} is not here, and #{catalogue.host}, where it is, can't be reached. #{own}"
  end

  def reachable?(place)
    Socket.tcp(place.host, place.port, connect_timeout: 5, resolv_timeout: 5, &:itself)
    true
  rescue SystemCallError, SocketError
    false
  end
end
