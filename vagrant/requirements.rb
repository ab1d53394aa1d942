# What has to be there before a machine is made. Each thing that is not is one sentence with what to do; Vagrant itself would
# say some of it after minutes, and some not at all.
module Requirements
  PROVIDERS = %w[libvirt virtualbox].freeze

  module_function

  # The sentence, or nil. `root` is the machine's; a test has another one.
  def missing(arguments, package:, driver:, memory:, root: "/")
    provider = wished(arguments)
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
    if (provider || found.first) == "libvirt" && driver == "kvm" && !File.exist?(File.join(root, "dev/kvm"))
      return "This machine has no hardware virtualisation (/dev/kvm). Without it the lab is slow: LBCTL_LIBVIRT_DRIVER=qemu vagrant up"
    end
    free = available_memory(root)
    if free && free < memory
      return "The machines need #{memory} MB of memory, and #{free} MB are free. Less for each: LBCTL_MEMORY=384 vagrant up; " \
             "or only some: vagrant up lb1 lb2 client"
    end
    return if File.file?(package)
    return "#{package} is missing (LBCTL_PACKAGE)" unless package.empty?

    "There is no package to install: cli/package/build makes it; or name one: LBCTL_PACKAGE=FILE vagrant up"
  end

  def wished(arguments)
    arguments.each_with_index do |argument, index|
      return arguments[index + 1] if argument == "--provider"
      return argument.delete_prefix("--provider=") if argument.start_with?("--provider=")
    end
    ENV["VAGRANT_DEFAULT_PROVIDER"]
  end

  def available?(provider, root)
    programs = { "libvirt" => %w[libvirtd virtqemud], "virtualbox" => %w[VBoxManage] }.fetch(provider)
    folders = ENV.fetch("PATH", "").split(":") << File.join(root, "usr/sbin")
    programs.any? { |program| folders.any? { |folder| File.executable?(File.join(folder, program)) } }
  end

  # In MB; nil where the kernel doesn't say.
  def available_memory(root)
    line = File.foreach(File.join(root, "proc/meminfo")).find { |each| each.start_with?("MemAvailable:") }
    line && line.split[1].to_i / 1024
  rescue SystemCallError
    nil
  end
end
